-- Indexes and the jobs that fill them, priorities, keyword search over chunk texts.

CREATE TABLE indexes (
    -- The order in which they were begun.
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL UNIQUE,
    model      TEXT NOT NULL,
    revision   TEXT NOT NULL,
    dimension  INTEGER NOT NULL,
    state      TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- At most one serves.
CREATE UNIQUE INDEX indexes_serving ON indexes (state) WHERE state = 'serving';

-- A version has one job of its own, and a document any number of maintenance jobs: one of a kind and index.
CREATE TABLE jobs_2 (
    -- The order of acceptance; never reused.
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id      TEXT NOT NULL UNIQUE,
    tenant      TEXT NOT NULL,
    document_id TEXT NOT NULL,
    version     INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    -- The index that a maintenance job is about; NULL for a version's own job.
    index_name  TEXT REFERENCES indexes (name),
    -- 0 to 2; higher goes first within its tenant.
    priority    INTEGER NOT NULL,
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
    FOREIGN KEY (tenant, document_id, version) REFERENCES versions (tenant, document_id, version)
) STRICT;

INSERT INTO jobs_2 (seq, job_id, tenant, document_id, version, kind, priority, status, stage, attempts, error, progress,
                    worker, lease_token, wake_at, interrupted, created_at, updated_at)
SELECT seq, job_id, tenant, document_id, version, kind, CASE WHEN kind = 'delete' THEN 2 ELSE 1 END, status, stage,
       attempts, error, progress, worker, lease_token, wake_at, interrupted, created_at, updated_at
FROM jobs ORDER BY seq;

DROP TABLE jobs;
ALTER TABLE jobs_2 RENAME TO jobs;

CREATE UNIQUE INDEX jobs_of_version ON jobs (tenant, document_id, version) WHERE index_name IS NULL;
CREATE UNIQUE INDEX jobs_of_index ON jobs (tenant, document_id, kind, index_name) WHERE index_name IS NOT NULL;
CREATE INDEX jobs_maintenance ON jobs (kind, index_name, status) WHERE index_name IS NOT NULL;
CREATE INDEX jobs_by_tenant ON jobs (tenant, seq);
CREATE INDEX jobs_by_status ON jobs (tenant, status, seq);
-- What the workers look through: small however long the history grows.
CREATE INDEX jobs_active ON jobs (tenant, priority, wake_at, seq) WHERE status IN ('queued', 'running');
-- At most one job of a document runs at a time.
CREATE UNIQUE INDEX jobs_running ON jobs (tenant, document_id) WHERE status = 'running';
CREATE INDEX jobs_unfinished ON jobs (status) WHERE status IN ('queued', 'running', 'dead');

DROP INDEX versions_by_body;
CREATE INDEX versions_by_body ON versions (content_hash) WHERE needs_body;

CREATE INDEX documents_live ON documents (tenant, document_id) WHERE live_version IS NOT NULL;

-- `id` is what `chunk_words` calls a chunk by.
CREATE TABLE chunks_2 (
    id           INTEGER PRIMARY KEY,
    tenant       TEXT NOT NULL,
    document_id  TEXT NOT NULL,
    version      INTEGER NOT NULL,
    chunk_index  INTEGER NOT NULL,
    content      TEXT NOT NULL,
    heading_path TEXT NOT NULL,
    start_char   INTEGER NOT NULL,
    end_char     INTEGER NOT NULL,
    tokens       INTEGER NOT NULL,
    UNIQUE (tenant, document_id, version, chunk_index),
    FOREIGN KEY (tenant, document_id, version) REFERENCES versions (tenant, document_id, version)
) STRICT;

INSERT INTO chunks_2 (tenant, document_id, version, chunk_index, content, heading_path, start_char, end_char, tokens)
SELECT tenant, document_id, version, chunk_index, content, heading_path, start_char, end_char, tokens
FROM chunks ORDER BY tenant, document_id, version, chunk_index;

DROP TABLE chunks;
ALTER TABLE chunks_2 RENAME TO chunks;

-- The words of every stored chunk, without the texts themselves. What was stored before is filled in by the program, which
-- knows how to tell words apart (`sqlite/words.rs`).
CREATE VIRTUAL TABLE chunk_words USING fts5 (
    tenant, title, headings, content,
    content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);
