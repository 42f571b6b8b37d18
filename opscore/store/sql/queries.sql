-- Every statement of the store, once, by name. Portable; see statements.py for how it is read.

-- name: insert_execution
INSERT INTO executions (
    execution_id, flow_id, flow_version, status, priority, last_seq,
    created_at, updated_at, started_at, deadline_at, user_id, metadata
) VALUES (
    :execution_id, :flow_id, :flow_version, :status, :priority, :last_seq,
    :created_at, :created_at, :started_at, :deadline_at, :user_id, :metadata
);

-- name: insert_input
INSERT INTO execution_inputs (execution_id, body) VALUES (:execution_id, :body);

-- name: touch_execution
UPDATE executions SET last_seq = :last_seq, updated_at = :at
WHERE execution_id = :execution_id AND last_seq = :expected_seq AND status = 'running';

-- name: begin_execution
UPDATE executions SET last_seq = :last_seq, updated_at = :at, status = 'running', started_at = :at
WHERE execution_id = :execution_id AND last_seq = :expected_seq AND status = 'pending';

-- name: finish_execution
UPDATE executions
SET last_seq = :last_seq, updated_at = :at, status = :status, completed_at = :at,
    error_code = :error_code, error_message = :error_message
WHERE execution_id = :execution_id AND last_seq = :expected_seq
    AND status IN ('pending', 'running', 'paused');

-- name: count_finished
UPDATE totals SET executions = executions + 1, seconds = seconds + :seconds WHERE status = :status;

-- name: insert_step
INSERT INTO steps (
    execution_id, node_id, agent_id, status, is_exit, attempt, failures,
    created_at, started_at, completed_at, waiting_for, waiting_since, waiting_until
) VALUES (
    :execution_id, :node_id, :agent_id, :status, :is_exit, :attempt, :failures,
    :at, :started_at, :completed_at, :waiting_for, :waiting_since, :waiting_until
);

-- name: start_step
UPDATE steps
SET status = 'running', attempt = :attempt, started_at = COALESCE(started_at, :at),
    waiting_for = NULL, waiting_since = NULL, waiting_until = NULL
WHERE execution_id = :execution_id AND node_id = :node_id
    AND status IN ('running', 'waiting') AND attempt = :attempt - 1;

-- name: suspend_step
UPDATE steps
SET status = 'waiting', failures = :failures, waiting_for = :waiting_for, waiting_since = :at,
    waiting_until = :waiting_until, error_code = COALESCE(:error_code, error_code),
    error_message = COALESCE(:error_message, error_message)
WHERE execution_id = :execution_id AND node_id = :node_id
    AND status IN ('running', 'waiting') AND attempt = :attempt;

-- name: complete_step
UPDATE steps SET status = 'completed', output = :output, completed_at = :at, error_code = NULL, error_message = NULL
WHERE execution_id = :execution_id AND node_id = :node_id AND status = 'running' AND attempt = :attempt;

-- name: fail_step
UPDATE steps
SET status = 'failed', failures = :failures, completed_at = :at,
    error_code = :error_code, error_message = :error_message
WHERE execution_id = :execution_id AND node_id = :node_id AND status = 'running' AND attempt = :attempt;

-- name: cancel_open_steps
UPDATE steps
SET status = 'cancelled', completed_at = :at, waiting_for = NULL, waiting_since = NULL, waiting_until = NULL
WHERE execution_id = :execution_id AND status IN ('running', 'waiting');

-- name: insert_event
INSERT INTO events (execution_id, seq, type, node_id, agent_id, attempt, at, data)
VALUES (:execution_id, :seq, :type, :node_id, :agent_id, :attempt, :at, :data);

-- name: forget_expired_key
DELETE FROM idempotency_keys WHERE idempotency_key = :key AND expires_at <= :now;

-- name: insert_idempotency_key
INSERT INTO idempotency_keys (idempotency_key, fingerprint, execution_id, expires_at)
VALUES (:key, :fingerprint, :execution_id, :expires_at);

-- name: idempotency_key
SELECT fingerprint, expires_at, execution_id FROM idempotency_keys
WHERE idempotency_key = :key AND expires_at > :now;

-- name: execution
SELECT e.execution_id, e.flow_id, e.flow_version, e.status, e.priority, e.last_seq,
    e.created_at, e.updated_at, e.started_at, e.completed_at, e.deadline_at,
    e.error_code, e.error_message, e.user_id, e.metadata, i.body
FROM executions e JOIN execution_inputs i ON i.execution_id = e.execution_id
WHERE e.execution_id = :execution_id;

-- name: step_counts
SELECT node_id, agent_id, status, attempt, failures, waiting_for, waiting_since, waiting_until
FROM steps WHERE execution_id = :execution_id;

-- name: exit_outputs
SELECT node_id, output FROM steps
WHERE execution_id = :execution_id AND is_exit = 1 AND status = 'completed';

-- name: listed_steps
SELECT node_id, agent_id, status, attempt, failures, waiting_for, waiting_since, waiting_until,
    is_exit, CASE WHEN is_exit = 1 AND LENGTH(output) <= :longest THEN output END
FROM steps WHERE execution_id = :execution_id;

-- name: input
SELECT body FROM execution_inputs WHERE execution_id = :execution_id;

-- name: step_output
SELECT output FROM steps WHERE execution_id = :execution_id AND node_id = :node_id AND status = 'completed';

-- name: steps
SELECT execution_id, node_id, agent_id, status, attempt, failures, created_at, started_at, completed_at,
    waiting_for, waiting_since, waiting_until, output, error_code, error_message
FROM steps WHERE execution_id = :execution_id ORDER BY created_at, node_id;

-- name: events
SELECT execution_id, seq, type, at, data, node_id, agent_id, attempt FROM events
WHERE execution_id = :execution_id AND seq > :after ORDER BY seq LIMIT :limit;

-- name: open_execution
SELECT execution_id, flow_id, flow_version, status, priority, last_seq,
    created_at, updated_at, started_at, completed_at, deadline_at
FROM executions WHERE execution_id = :execution_id AND status IN ('pending', 'running', 'paused');

-- name: open_executions
SELECT execution_id, flow_id, flow_version, status, priority, last_seq,
    created_at, updated_at, started_at, completed_at, deadline_at
FROM executions WHERE status = 'running' AND execution_id > :after
ORDER BY execution_id LIMIT :limit;

-- name: open_steps
SELECT execution_id, node_id, agent_id, status, attempt, failures, created_at, started_at, completed_at,
    waiting_for, waiting_since, waiting_until
FROM steps WHERE execution_id = :execution_id;

-- name: queued
SELECT execution_id FROM executions WHERE status = 'pending'
ORDER BY priority DESC, execution_id LIMIT :limit;

-- name: queue_length
SELECT COUNT(*) FROM executions WHERE status = 'pending';

-- name: overdue
SELECT execution_id FROM executions WHERE status = 'pending' AND deadline_at <= :now LIMIT :limit;

-- name: open_counts
SELECT status, COUNT(*) FROM executions WHERE status IN ('pending', 'running', 'paused') GROUP BY status;

-- name: totals
SELECT status, executions, seconds FROM totals;

-- name: last_created
SELECT created_at FROM executions ORDER BY execution_id DESC LIMIT 1;

-- name: prunable
SELECT execution_id FROM executions
WHERE status IN ('completed', 'failed', 'cancelled') AND completed_at < :ended_before AND execution_id < :id_bound
LIMIT :limit;

-- name: prune_execution
DELETE FROM executions WHERE execution_id = :execution_id AND status IN ('completed', 'failed', 'cancelled');

-- name: prune_input
DELETE FROM execution_inputs WHERE execution_id = :execution_id;

-- name: prune_steps
DELETE FROM steps WHERE execution_id = :execution_id;

-- name: prune_events
DELETE FROM events WHERE execution_id = :execution_id;

-- name: expired_keys
SELECT idempotency_key FROM idempotency_keys WHERE expires_at <= :now LIMIT :limit;

-- name: flow
SELECT f.created_at, v.flow_version, v.definition, v.created_at
FROM flows f JOIN flow_versions v ON v.flow_id = f.flow_id AND v.flow_version = f.flow_version
WHERE f.flow_id = :flow_id AND f.deleted_at IS NULL;

-- name: flow_version
SELECT f.created_at, v.flow_version, v.definition, v.created_at
FROM flows f JOIN flow_versions v ON v.flow_id = f.flow_id
WHERE f.flow_id = :flow_id AND v.flow_version = :flow_version;

-- name: flows
SELECT f.created_at, v.flow_version, v.definition, v.created_at
FROM flows f JOIN flow_versions v ON v.flow_id = f.flow_id AND v.flow_version = f.flow_version
WHERE f.deleted_at IS NULL ORDER BY f.flow_id;

-- name: flow_count
SELECT COUNT(*) FROM flows WHERE deleted_at IS NULL;

-- name: flow_versions
SELECT f.created_at, v.flow_version, v.definition, v.created_at
FROM flows f JOIN flow_versions v ON v.flow_id = f.flow_id
WHERE f.flow_id = :flow_id ORDER BY v.flow_version DESC;

-- name: insert_flow_version
INSERT INTO flow_versions (flow_id, flow_version, definition, created_at)
VALUES (:flow_id, :flow_version, :definition, :now);

-- name: upsert_flow
INSERT INTO flows (flow_id, flow_version, created_at) VALUES (:flow_id, :flow_version, :now)
ON CONFLICT (flow_id) DO UPDATE SET flow_version = excluded.flow_version, deleted_at = NULL;

-- name: delete_flow
UPDATE flows SET deleted_at = :now WHERE flow_id = :flow_id AND deleted_at IS NULL;

-- name: agents
SELECT agent_id, spec, state, state_details, last_seen, created_at, updated_at FROM agents ORDER BY agent_id;

-- name: insert_agent
INSERT INTO agents (agent_id, spec, state, state_details, created_at, updated_at)
VALUES (:agent_id, :spec, 'unknown', '{}', :now, :now);

-- name: delete_agent
DELETE FROM agents WHERE agent_id = :agent_id;

-- name: keys
SELECT fingerprint, key_id, name, scopes, created_at, revoked_at, hint FROM api_keys ORDER BY created_at, key_id;

-- name: insert_key
INSERT INTO api_keys (key_id, fingerprint, name, scopes, hint, created_at)
VALUES (:key_id, :fingerprint, :name, :scopes, :hint, :created_at);

-- name: revoke_key
UPDATE api_keys SET revoked_at = COALESCE(revoked_at, :now) WHERE key_id = :key_id;

-- name: probe
UPDATE probes SET at = :now WHERE id = 1;
