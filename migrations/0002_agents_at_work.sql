-- What agents say of themselves, the tasks they hold, and the signatures that were used.

-- The present state of an agent is its newest report by its own clock; of two with the same instant the one that
-- came later. That is the greatest key of its rows, so a report costs one insert and nothing is ever rewritten.
CREATE TABLE agent_reports (
    agent_id TEXT NOT NULL,
    reported_at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('initializing', 'idle', 'active', 'error', 'finished', 'offline')),
    details TEXT NOT NULL,
    frees INTEGER NOT NULL,
    PRIMARY KEY (agent_id, reported_at, received_at)
) /* sqlite: WITHOUT ROWID */;

-- An agent's row no longer holds its state, but who registered it.
CREATE TABLE registrations (
    agent_id TEXT PRIMARY KEY,
    spec TEXT NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('direct', 'webhook', 'discovery')),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
INSERT INTO registrations (agent_id, spec, source, created_at, updated_at)
SELECT agent_id, spec, 'direct', created_at, updated_at FROM agents;
DROP TABLE agents;
ALTER TABLE registrations RENAME TO agents;

-- Tasks that were handed, or are being handed, to agents that answer later. The key is the promise that
-- such an agent never has two.
CREATE TABLE open_tasks (
    agent_id TEXT PRIMARY KEY,
    execution_id TEXT NOT NULL,
    node_id TEXT NOT NULL,
    until_at BIGINT NOT NULL,
    accepted_at BIGINT,
    begun_at BIGINT,
    is_abandoned INTEGER NOT NULL
) /* sqlite: WITHOUT ROWID */;

CREATE INDEX open_tasks_by_execution ON open_tasks (execution_id);

-- Signatures of webhooks that were taken, for as long as their timestamps would be.
CREATE TABLE webhook_signatures (
    signature TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
) /* sqlite: WITHOUT ROWID */;

CREATE INDEX webhook_signatures_by_expiry ON webhook_signatures (expires_at);

-- The agent that a session was triggered for.
ALTER TABLE executions ADD COLUMN agent_id TEXT;

-- Why a step waits, in a sentence.
ALTER TABLE steps ADD COLUMN waiting_detail TEXT;
