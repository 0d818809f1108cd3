-- Documents, their versions and chunk texts, and the job queue. Times are milliseconds since 1970.

CREATE TABLE tenants (
    tenant            TEXT PRIMARY KEY,
    -- Counts up with every change of what the tenant's searches can find.
    corpus_generation INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row for ever, also for deleted documents: `version` only ever grows.
CREATE TABLE documents (
    tenant       TEXT NOT NULL,
    document_id  TEXT NOT NULL,
    version      INTEGER NOT NULL,
    live_version INTEGER,
    -- The newest version's status, kept here too so that lists by status are an index scan.
    status       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (tenant, document_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX documents_by_status ON documents (tenant, status, document_id);

CREATE TABLE versions (
    tenant       TEXT NOT NULL,
    document_id  TEXT NOT NULL,
    version      INTEGER NOT NULL,
    status       TEXT NOT NULL,
    title        TEXT NOT NULL,
    media_type   TEXT NOT NULL,
    bytes        INTEGER NOT NULL,
    content_hash TEXT NOT NULL,
    -- Whether the body may still be needed; 0 once a newer version is live.
    needs_body   INTEGER NOT NULL,
    metadata     TEXT NOT NULL,
    groups       TEXT NOT NULL,
    fingerprint  TEXT NOT NULL,
    traceparent  TEXT,
    language     TEXT,
    chunks       INTEGER NOT NULL DEFAULT 0,
    error        TEXT,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (tenant, document_id, version),
    FOREIGN KEY (tenant, document_id) REFERENCES documents (tenant, document_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX versions_by_body ON versions (content_hash) WHERE needs_body = 1;

CREATE TABLE chunks (
    tenant       TEXT NOT NULL,
    document_id  TEXT NOT NULL,
    version      INTEGER NOT NULL,
    chunk_index  INTEGER NOT NULL,
    content      TEXT NOT NULL,
    heading_path TEXT NOT NULL,
    start_char   INTEGER NOT NULL,
    end_char     INTEGER NOT NULL,
    tokens       INTEGER NOT NULL,
    PRIMARY KEY (tenant, document_id, version, chunk_index),
    FOREIGN KEY (tenant, document_id, version) REFERENCES versions (tenant, document_id, version)
) STRICT;

CREATE TABLE jobs (
    -- The order of acceptance; never reused.
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id      TEXT NOT NULL UNIQUE,
    tenant      TEXT NOT NULL,
    document_id TEXT NOT NULL,
    version     INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    status      TEXT NOT NULL,
    stage       TEXT NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    error       TEXT,
    progress    REAL NOT NULL DEFAULT 0,
    -- Who holds the lease, for people who look.
    worker      TEXT,
    -- Counts up with every lease; a write must name the current one.
    lease_token INTEGER NOT NULL DEFAULT 0,
    -- Queued: when the job is due. Running: when its lease ends.
    wake_at     INTEGER NOT NULL,
    -- 1: a worker gave the job back in the middle of a stage.
    interrupted INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    UNIQUE (tenant, document_id, version),
    FOREIGN KEY (tenant, document_id, version) REFERENCES versions (tenant, document_id, version)
) STRICT;

CREATE INDEX jobs_by_tenant ON jobs (tenant, seq);
CREATE INDEX jobs_by_status ON jobs (tenant, status, seq);
-- What the workers look through: small however long the history grows.
CREATE INDEX jobs_active ON jobs (tenant, wake_at, seq) WHERE status IN ('queued', 'running');
-- At most one job of a document runs at a time.
CREATE UNIQUE INDEX jobs_running ON jobs (tenant, document_id) WHERE status = 'running';
CREATE INDEX jobs_unfinished ON jobs (status) WHERE status IN ('queued', 'running', 'dead');

-- One row that the readiness check writes, as only a write shows that writing works.
CREATE TABLE probe (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    written_at INTEGER NOT NULL
) STRICT;
