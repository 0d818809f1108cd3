-- What the edge needs: idempotency keys, API keys, the audit log, feedback. A deletion is as readable as what it deletes.

UPDATE versions v SET groups = (
    SELECT p.groups FROM versions p
    WHERE p.tenant = v.tenant AND p.document_id = v.document_id AND p.version < v.version AND p.content_hash <> ''
    ORDER BY p.version DESC LIMIT 1
) WHERE v.content_hash = '' AND EXISTS (
    SELECT 1 FROM versions p
    WHERE p.tenant = v.tenant AND p.document_id = v.document_id AND p.version < v.version AND p.content_hash <> ''
);

CREATE TABLE idempotency_keys (
    tenant          TEXT COLLATE "C" NOT NULL,
    idempotency_key TEXT COLLATE "C" NOT NULL,
    subject         TEXT NOT NULL,
    fingerprint     TEXT NOT NULL,
    -- The answer. NULL only within the transaction that finds it.
    job_id          TEXT COLLATE "C" REFERENCES jobs (job_id),
    unchanged       BOOLEAN NOT NULL,
    created_at      BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    PRIMARY KEY (tenant, idempotency_key)
);

CREATE INDEX idempotency_keys_by_end ON idempotency_keys (expires_at);

CREATE TABLE api_keys (
    id         TEXT COLLATE "C" PRIMARY KEY,
    tenant     TEXT COLLATE "C" NOT NULL,
    hash       TEXT COLLATE "C" NOT NULL,
    subject    TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    all_groups BOOLEAN NOT NULL,
    groups     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

CREATE INDEX api_keys_by_tenant ON api_keys (tenant, id);

CREATE TABLE audit_log (
    tenant     TEXT COLLATE "C" NOT NULL,
    -- From 1 without gaps.
    seq        BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    subject    TEXT COLLATE "C" NOT NULL,
    action     TEXT COLLATE "C" NOT NULL,
    object_id  TEXT NOT NULL,
    version    BIGINT,
    request_id TEXT NOT NULL,
    query_id   TEXT COLLATE "C",
    documents  TEXT NOT NULL,
    detail     TEXT NOT NULL,
    prev_hash  TEXT COLLATE "C" NOT NULL,
    -- Over everything above and the tenant.
    hash       TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, seq)
);

CREATE UNIQUE INDEX audit_log_by_query ON audit_log (tenant, query_id) WHERE query_id IS NOT NULL;

CREATE FUNCTION audit_log_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END
$$;

CREATE TRIGGER audit_log_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION audit_log_keep();

-- The last entry of each log: whoever appends locks this row first.
CREATE TABLE audit_heads (
    tenant TEXT COLLATE "C" PRIMARY KEY,
    seq    BIGINT NOT NULL,
    hash   TEXT COLLATE "C" NOT NULL
);

CREATE TABLE feedback (
    tenant     TEXT COLLATE "C" NOT NULL,
    query_id   TEXT COLLATE "C" NOT NULL,
    subject    TEXT COLLATE "C" NOT NULL,
    rating     TEXT COLLATE "C" NOT NULL,
    comment    TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, query_id, subject)
);

CREATE INDEX feedback_by_time ON feedback (created_at, rating);
