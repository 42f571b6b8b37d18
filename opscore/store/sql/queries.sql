-- Every statement of the store, once, by name. Portable; see statements.py for how it is read.

-- name: insert_execution
INSERT INTO executions (
    execution_id, flow_id, flow_version, status, priority, last_seq,
    created_at, updated_at, started_at, deadline_at, user_id, agent_id, metadata, trace_context
) VALUES (
    :execution_id, :flow_id, :flow_version, :status, :priority, :last_seq,
    :created_at, :created_at, :started_at, :deadline_at, :user_id, :agent_id, :metadata, :trace_context
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
    created_at, started_at, completed_at, waiting_for, waiting_since, waiting_until, waiting_detail
) VALUES (
    :execution_id, :node_id, :agent_id, :status, :is_exit, :attempt, :failures,
    :at, :started_at, :completed_at, :waiting_for, :waiting_since, :waiting_until, :waiting_detail
);

-- name: start_step
UPDATE steps
SET status = 'running', agent_id = :agent_id, attempt = :attempt, started_at = COALESCE(started_at, :at),
    waiting_for = NULL, waiting_since = NULL, waiting_until = NULL, waiting_detail = NULL
WHERE execution_id = :execution_id AND node_id = :node_id
    AND status IN ('running', 'waiting') AND attempt = :attempt - 1;

-- name: suspend_step
UPDATE steps
SET status = 'waiting', agent_id = :agent_id, failures = :failures, waiting_for = :waiting_for, waiting_since = :at,
    waiting_until = :waiting_until, waiting_detail = :waiting_detail, error_code = COALESCE(:error_code, error_code),
    error_message = COALESCE(:error_message, error_message)
WHERE execution_id = :execution_id AND node_id = :node_id
    AND status IN ('running', 'waiting') AND attempt = :attempt;

-- name: accept_step
UPDATE steps
SET status = 'waiting', waiting_for = 'agent', waiting_since = :at, waiting_until = :until,
    waiting_detail = :waiting_detail, error_code = NULL, error_message = NULL
WHERE execution_id = :execution_id AND node_id = :node_id
    AND status IN ('running', 'waiting') AND attempt = :attempt;

-- name: complete_step
UPDATE steps
SET status = 'completed', output = :output, completed_at = :at, error_code = :error_code,
    error_message = :error_message, queue_us = :queue_us, call_us = :call_us, commit_us = :commit_us,
    waiting_for = NULL, waiting_since = NULL, waiting_until = NULL, waiting_detail = NULL
WHERE execution_id = :execution_id AND node_id = :node_id
    AND status IN ('running', 'waiting') AND attempt = :attempt;

-- name: fail_step
UPDATE steps
SET status = 'failed', failures = :failures, completed_at = :at, error_code = :error_code,
    error_message = :error_message, queue_us = :queue_us, call_us = :call_us, commit_us = :commit_us,
    waiting_for = NULL, waiting_since = NULL, waiting_until = NULL, waiting_detail = NULL
WHERE execution_id = :execution_id AND node_id = :node_id
    AND status IN ('running', 'waiting') AND attempt = :attempt;

-- name: cancel_open_steps
UPDATE steps
SET status = 'cancelled', completed_at = :at,
    waiting_for = NULL, waiting_since = NULL, waiting_until = NULL, waiting_detail = NULL
WHERE execution_id = :execution_id AND status IN ('running', 'waiting');

-- name: insert_event
INSERT INTO events (execution_id, seq, type, node_id, agent_id, attempt, at, data)
VALUES (:execution_id, :seq, :type, :node_id, :agent_id, :attempt, :at, :data);

-- name: append_unit
INSERT INTO feed (position, event_count, execution_id, last_seq)
VALUES (
    COALESCE((SELECT MAX(position) FROM feed), (SELECT pruned_to FROM feed_marks)) + :event_count,
    :event_count, :execution_id, :last_seq
);

-- name: append_state
INSERT INTO feed (position, event_count, agent_id, at, data)
VALUES (
    COALESCE((SELECT MAX(position) FROM feed), (SELECT pruned_to FROM feed_marks)) + 1,
    1, :agent_id, :at, :data
);

-- name: feed_ends
-- The newest position, the greatest one that was pruned, and the first one after a place.
SELECT COALESCE((SELECT MAX(position) FROM feed), pruned_to), pruned_to,
    (SELECT position - event_count + 1 FROM feed WHERE position > :after ORDER BY position LIMIT 1)
FROM feed_marks;

-- name: feed_window
SELECT MAX(position)
FROM (SELECT position FROM feed WHERE position > :after ORDER BY position LIMIT :units) AS found;

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
    e.error_code, e.error_message, e.user_id, e.agent_id, e.metadata, i.body,
    e.trace_context
FROM executions e JOIN execution_inputs i ON i.execution_id = e.execution_id
WHERE e.execution_id = :execution_id;

-- name: step_counts
SELECT node_id, agent_id, status, attempt, failures, waiting_for, waiting_since, waiting_until,
    waiting_detail, error_code
FROM steps WHERE execution_id = :execution_id;

-- name: exit_outputs
SELECT node_id, output FROM steps
WHERE execution_id = :execution_id AND is_exit = 1 AND status = 'completed';

-- name: listed_steps
SELECT node_id, agent_id, status, attempt, failures, waiting_for, waiting_since, waiting_until,
    waiting_detail, error_code, is_exit, CASE WHEN is_exit = 1 AND LENGTH(output) <= :longest THEN output END
FROM steps WHERE execution_id = :execution_id;

-- name: input
SELECT body FROM execution_inputs WHERE execution_id = :execution_id;

-- name: step_output
SELECT output FROM steps WHERE execution_id = :execution_id AND node_id = :node_id AND status = 'completed';

-- name: steps
SELECT execution_id, node_id, agent_id, status, attempt, failures, created_at, started_at, completed_at,
    waiting_for, waiting_since, waiting_until, output, error_code, error_message, waiting_detail,
    queue_us, call_us, commit_us
FROM steps WHERE execution_id = :execution_id ORDER BY created_at, node_id;

-- name: execution_status
SELECT status FROM executions WHERE execution_id = :execution_id;

-- name: events
SELECT execution_id, seq, type, at, data, node_id, agent_id, attempt FROM events
WHERE execution_id = :execution_id AND seq > :after ORDER BY seq LIMIT :limit;

-- name: open_execution
SELECT execution_id, flow_id, flow_version, status, priority, last_seq,
    created_at, updated_at, started_at, completed_at, deadline_at, agent_id, trace_context
FROM executions WHERE execution_id = :execution_id AND status IN ('pending', 'running', 'paused');

-- name: open_executions
SELECT execution_id, flow_id, flow_version, status, priority, last_seq,
    created_at, updated_at, started_at, completed_at, deadline_at, agent_id, trace_context
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

-- name: oldest_pending
-- Ids rise with the time they are made at, and executions_by_status has them in order.
SELECT created_at FROM executions WHERE status = 'pending' ORDER BY execution_id LIMIT 1;

-- name: last_created
SELECT created_at FROM executions ORDER BY execution_id DESC LIMIT 1;

-- name: recorded_execution
SELECT execution_id, flow_id, flow_version, status, priority, last_seq,
    created_at, updated_at, started_at, completed_at, deadline_at, error_code, error_message, user_id, agent_id
FROM executions WHERE execution_id = :execution_id;

-- name: recorded_steps
SELECT execution_id, node_id, agent_id, status, attempt, failures, created_at, started_at, completed_at,
    waiting_for, waiting_since, waiting_until, NULL, error_code, error_message, waiting_detail
FROM steps WHERE execution_id = :execution_id ORDER BY created_at, node_id;

-- name: attempts_begun
SELECT node_id, MAX(at) FROM events
WHERE execution_id = :execution_id AND type = 'node.started' GROUP BY node_id;

-- name: queued_ahead
SELECT COUNT(*) FROM executions
WHERE status = 'pending' AND priority >= :priority AND (priority > :priority OR execution_id < :execution_id);

-- name: started_between
-- An id has the millisecond that it was made in, and this index has all ids.
SELECT COUNT(*) FROM executions
WHERE status IN ('pending', 'running', 'paused', 'completed', 'failed', 'cancelled')
    AND execution_id >= :id_from AND execution_id < :id_bound;

-- name: ended_between
SELECT status, COUNT(*) FROM executions
WHERE status IN ('completed', 'failed', 'cancelled') AND completed_at >= :since AND completed_at < :until
GROUP BY status;

-- name: waiting_counts
SELECT waiting_for, COUNT(*), MIN(waiting_since) FROM steps WHERE waiting_for IS NOT NULL GROUP BY waiting_for;

-- name: longest_waits
SELECT execution_id, node_id, agent_id, waiting_since, waiting_detail FROM steps
WHERE waiting_for = :reason ORDER BY waiting_since LIMIT :limit;

-- name: newest_failures
SELECT execution_id, flow_id, error_code, error_message, completed_at FROM executions
WHERE status = 'failed' AND completed_at IS NOT NULL ORDER BY completed_at DESC LIMIT :limit;

-- name: sampled_ended
SELECT completed_at, execution_id, flow_id, status, started_at FROM executions
WHERE status = :status AND completed_at >= :since ORDER BY completed_at DESC LIMIT :limit;

-- name: sampled_running
SELECT completed_at, execution_id, flow_id, status, started_at FROM executions
WHERE status = 'running' ORDER BY execution_id DESC LIMIT :limit;

-- name: sampled_of_flow
SELECT completed_at, execution_id, flow_id, status, started_at FROM executions
WHERE flow_id = :flow_id ORDER BY execution_id DESC LIMIT :limit;

-- name: sampled_steps
SELECT node_id, agent_id, attempt, status, error_code, queue_us, call_us, commit_us FROM steps
WHERE execution_id = :execution_id AND completed_at >= :since AND status IN ('completed', 'failed')
    AND (:agent_id IS NULL OR agent_id = :agent_id);

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

-- name: mark_pruned_unit
UPDATE feed_marks SET pruned_to = (SELECT MAX(position) FROM feed WHERE execution_id = :execution_id)
WHERE pruned_to < (SELECT MAX(position) FROM feed WHERE execution_id = :execution_id);

-- name: prune_feed
DELETE FROM feed WHERE execution_id = :execution_id;

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
SELECT agent_id, spec, source, created_at, updated_at FROM agents ORDER BY agent_id;

-- name: insert_agent
INSERT INTO agents (agent_id, spec, source, created_at, updated_at)
VALUES (:agent_id, :spec, :source, :now, :now);

-- name: replace_agent
UPDATE agents SET spec = :spec, source = :source, updated_at = :now WHERE agent_id = :agent_id;

-- name: delete_agent
DELETE FROM agents WHERE agent_id = :agent_id;

-- name: insert_report
INSERT INTO agent_reports (agent_id, reported_at, received_at, state, details, frees)
VALUES (:agent_id, :reported_at, :received_at, :state, :details, :frees);

-- name: reports
-- Those of an earlier registration under the same id are no part of an agent's history.
SELECT agent_id, state, reported_at, received_at, details, frees FROM agent_reports
WHERE agent_id = :agent_id AND received_at >= :registered_at
    AND (reported_at < :reported_before OR (reported_at = :reported_before AND received_at < :received_before))
ORDER BY reported_at DESC, received_at DESC LIMIT :limit;

-- name: reporting_agent_after
SELECT agent_id FROM agent_reports WHERE agent_id > :agent_id ORDER BY agent_id LIMIT 1;

-- name: prunable_reports
SELECT reported_at, received_at FROM agent_reports
WHERE agent_id = :agent_id AND reported_at < :reported_before AND received_at < :received_before
ORDER BY reported_at LIMIT :limit;

-- name: prune_report
DELETE FROM agent_reports
WHERE agent_id = :agent_id AND reported_at = :reported_at AND received_at = :received_at;

-- name: prunable_states
SELECT position FROM feed WHERE at < :received_before ORDER BY at LIMIT :limit;

-- name: mark_pruned_state
UPDATE feed_marks SET pruned_to = :position WHERE pruned_to < :position;

-- name: prune_state
DELETE FROM feed WHERE position = :position;

-- name: open_tasks
SELECT agent_id, execution_id, node_id, until_at, accepted_at, begun_at, is_abandoned FROM open_tasks;

-- name: tasks_of
SELECT agent_id, execution_id, node_id, until_at, accepted_at, begun_at, is_abandoned FROM open_tasks
WHERE execution_id = :execution_id;

-- name: open_task
-- The same task again, after a crash or when it could not be handed over; never another one's.
INSERT INTO open_tasks (agent_id, execution_id, node_id, until_at, accepted_at, begun_at, is_abandoned)
VALUES (:agent_id, :execution_id, :node_id, :until, NULL, NULL, 0)
ON CONFLICT (agent_id) DO UPDATE SET until_at = excluded.until_at
WHERE open_tasks.execution_id = excluded.execution_id AND open_tasks.node_id = excluded.node_id;

-- name: accept_task
UPDATE open_tasks SET accepted_at = :at, until_at = :until
WHERE agent_id = :agent_id AND execution_id = :execution_id AND node_id = :node_id;

-- name: begin_task
UPDATE open_tasks SET begun_at = :begun_at
WHERE agent_id = :agent_id AND execution_id = :execution_id AND node_id = :node_id;

-- name: abandon_task
UPDATE open_tasks SET is_abandoned = 1 WHERE agent_id = :agent_id AND execution_id = :execution_id;

-- name: close_task
DELETE FROM open_tasks WHERE agent_id = :agent_id AND execution_id = :execution_id;

-- name: insert_signature
INSERT INTO webhook_signatures (signature, expires_at) VALUES (:signature, :expires_at);

-- name: signature
SELECT 1 FROM webhook_signatures WHERE signature = :signature;

-- name: expired_signatures
SELECT signature FROM webhook_signatures WHERE expires_at <= :now LIMIT :limit;

-- name: forget_signature
DELETE FROM webhook_signatures WHERE signature = :signature;

-- name: keys
SELECT fingerprint, key_id, name, scopes, created_at, revoked_at, hint FROM api_keys ORDER BY created_at, key_id;

-- name: insert_key
INSERT INTO api_keys (key_id, fingerprint, name, scopes, hint, created_at)
VALUES (:key_id, :fingerprint, :name, :scopes, :hint, :created_at);

-- name: revoke_key
UPDATE api_keys SET revoked_at = COALESCE(revoked_at, :now) WHERE key_id = :key_id;

-- name: probe
UPDATE probes SET at = :now WHERE id = 1;

-- name: last_log
SELECT log_id FROM logs ORDER BY log_id DESC LIMIT 1;

-- name: log_count
SELECT COUNT(*) FROM logs;

-- name: oldest_logs
SELECT log_id FROM logs ORDER BY log_id LIMIT :limit;

-- name: prune_logs
DELETE FROM logs WHERE log_id <= :log_id;
