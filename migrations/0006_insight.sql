-- For those who look at how things stand: what ended lately, and what waits, without reading anything else.

-- Both grow at their ends, or only with what waits, so a hop that neither ends nor waits writes no more than before.
CREATE INDEX executions_ended ON executions (status, completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX steps_waiting ON steps (waiting_for, waiting_since) WHERE waiting_for IS NOT NULL;
