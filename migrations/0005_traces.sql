-- Where the time of a step's last attempt went, and the trace that an execution's caller is in.

-- Microseconds; unknown for steps that ended before there were these columns.
ALTER TABLE steps ADD COLUMN queue_us BIGINT;
ALTER TABLE steps ADD COLUMN call_us BIGINT;
ALTER TABLE steps ADD COLUMN commit_us BIGINT;

-- W3C Trace Context as the caller sent it; none for an execution that begins a trace of its own.
ALTER TABLE executions ADD COLUMN trace_context TEXT;
