-- The log of the server's own work, bounded in time and number.

-- log_id is made by the server: the instant of the entry in microseconds, or one more than the last. So what is
-- recent, old or past a bound is found by the key, and no index on the instant is needed.
CREATE TABLE logs (
    log_id BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    level INTEGER NOT NULL,
    event TEXT NOT NULL,
    message TEXT NOT NULL,
    logger TEXT NOT NULL,
    execution_id TEXT,
    flow_id TEXT,
    node_id TEXT,
    agent_id TEXT,
    attempt INTEGER,
    request_id TEXT,
    trace_id TEXT,
    error_code TEXT,
    duration_ms DOUBLE PRECISION,
    fields TEXT NOT NULL
) /* sqlite: WITHOUT ROWID */;

CREATE INDEX logs_by_execution ON logs (execution_id, log_id) WHERE execution_id IS NOT NULL;
CREATE INDEX logs_by_agent ON logs (agent_id, log_id) WHERE agent_id IS NOT NULL;
CREATE INDEX logs_by_error ON logs (error_code, log_id) WHERE error_code IS NOT NULL;
