-- What the edge needs: idempotency keys, API keys, the audit log, feedback. A deletion is as readable as what it deletes.

UPDATE versions SET groups = (
    SELECT p.groups FROM versions p
    WHERE p.tenant = versions.tenant AND p.document_id = versions.document_id AND p.version < versions.version
      AND p.content_hash <> '' ORDER BY p.version DESC LIMIT 1
) WHERE content_hash = '' AND EXISTS (
    SELECT 1 FROM versions p
    WHERE p.tenant = versions.tenant AND p.document_id = versions.document_id AND p.version < versions.version
      AND p.content_hash <> ''
);

CREATE TABLE idempotency_keys (
    tenant          TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    subject         TEXT NOT NULL,
    fingerprint     TEXT NOT NULL,
    -- The answer. NULL only within the transaction that finds it.
    job_id          TEXT REFERENCES jobs (job_id),
    unchanged       INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    PRIMARY KEY (tenant, idempotency_key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_end ON idempotency_keys (expires_at);

CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY,
    tenant     TEXT NOT NULL,
    hash       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    all_groups INTEGER NOT NULL,
    groups     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX api_keys_by_tenant ON api_keys (tenant, id);

CREATE TABLE audit_log (
    tenant     TEXT NOT NULL,
    -- From 1 without gaps.
    seq        INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    subject    TEXT NOT NULL,
    action     TEXT NOT NULL,
    object_id  TEXT NOT NULL,
    version    INTEGER,
    request_id TEXT NOT NULL,
    query_id   TEXT,
    documents  TEXT NOT NULL,
    detail     TEXT NOT NULL,
    prev_hash  TEXT NOT NULL,
    -- Over everything above and the tenant.
    hash       TEXT NOT NULL,
    PRIMARY KEY (tenant, seq)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX audit_log_by_query ON audit_log (tenant, query_id) WHERE query_id IS NOT NULL;

CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

-- The last entry of each log: whoever appends changes this row first.
CREATE TABLE audit_heads (
    tenant TEXT PRIMARY KEY,
    seq    INTEGER NOT NULL,
    hash   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE feedback (
    tenant     TEXT NOT NULL,
    query_id   TEXT NOT NULL,
    subject    TEXT NOT NULL,
    rating     TEXT NOT NULL,
    comment    TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, query_id, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX feedback_by_time ON feedback (created_at, rating);
