-- Flows, agents, executions with their steps and events, API keys.
--
-- Instants are integer microseconds since 1970 (UTC), payloads are JSON text, ids are made by the server.
-- A comment that begins with "sqlite:" is part of the statement on SQLite alone: there a table whose
-- rows live in their primary key's tree saves a second tree, and so a third of all page writes.

CREATE TABLE flows (
    flow_id TEXT PRIMARY KEY,
    flow_version INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
) /* sqlite: WITHOUT ROWID */;

CREATE TABLE flow_versions (
    flow_id TEXT NOT NULL,
    flow_version INTEGER NOT NULL,
    definition TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (flow_id, flow_version)
);

CREATE TABLE agents (
    agent_id TEXT PRIMARY KEY,
    spec TEXT NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('unknown', 'initializing', 'idle', 'active', 'error', 'finished', 'offline')),
    state_details TEXT NOT NULL,
    last_seen BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE executions (
    execution_id TEXT PRIMARY KEY,
    flow_id TEXT NOT NULL,
    flow_version INTEGER NOT NULL,
    status TEXT NOT NULL
        CHECK (status IN ('pending', 'running', 'paused', 'completed', 'failed', 'cancelled')),
    priority INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    started_at BIGINT,
    completed_at BIGINT,
    deadline_at BIGINT,
    error_code TEXT,
    error_message TEXT,
    user_id TEXT,
    metadata TEXT NOT NULL
) /* sqlite: WITHOUT ROWID */;

CREATE INDEX executions_by_status ON executions (status, execution_id);
CREATE INDEX executions_by_flow ON executions (flow_id, execution_id);
CREATE INDEX executions_queued ON executions (priority, execution_id) WHERE status = 'pending';

-- Apart from its execution, which is rewritten at every hop while this never changes.
CREATE TABLE execution_inputs (
    execution_id TEXT PRIMARY KEY,
    body TEXT NOT NULL
) /* sqlite: WITHOUT ROWID */;

CREATE TABLE steps (
    execution_id TEXT NOT NULL,
    node_id TEXT NOT NULL,
    agent_id TEXT,
    status TEXT NOT NULL
        CHECK (status IN ('running', 'waiting', 'completed', 'failed', 'cancelled', 'skipped')),
    is_exit INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    completed_at BIGINT,
    waiting_for TEXT
        CHECK (waiting_for IN ('slot', 'agent', 'retry', 'timer', 'signal', 'concurrency')),
    waiting_since BIGINT,
    waiting_until BIGINT,
    output TEXT,
    error_code TEXT,
    error_message TEXT,
    PRIMARY KEY (execution_id, node_id)
) /* sqlite: WITHOUT ROWID */;

CREATE TABLE events (
    execution_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    node_id TEXT,
    agent_id TEXT,
    attempt INTEGER,
    at BIGINT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (execution_id, seq)
) /* sqlite: WITHOUT ROWID */;

CREATE TABLE idempotency_keys (
    idempotency_key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    expires_at BIGINT NOT NULL
) /* sqlite: WITHOUT ROWID */;

CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

CREATE TABLE api_keys (
    key_id TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    hint TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);

-- What ended, ever: counted as it happens, so that asking costs nothing and pruning forgets nothing.
CREATE TABLE totals (
    status TEXT PRIMARY KEY,
    executions BIGINT NOT NULL,
    seconds DOUBLE PRECISION NOT NULL
);
INSERT INTO totals (status, executions, seconds)
VALUES ('completed', 0, 0), ('failed', 0, 0), ('cancelled', 0, 0);

CREATE TABLE probes (
    id INTEGER PRIMARY KEY,
    at BIGINT NOT NULL
);
INSERT INTO probes (id, at) VALUES (1, 0);
