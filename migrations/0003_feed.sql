-- The feed: one order over all events.

-- A row is appended with each unit, in its transaction: its events have the numbers from position - event_count + 1 to
-- position, so that the numbers rise without a gap. A change of an agent's state outside any task is a row by itself.
CREATE TABLE feed (
    position BIGINT PRIMARY KEY,
    event_count INTEGER NOT NULL,
    execution_id TEXT,
    last_seq INTEGER,
    agent_id TEXT,
    at BIGINT,
    data TEXT
) /* sqlite: WITHOUT ROWID */;

-- The greatest position that was ever deleted. Where the feed is empty, numbering goes on from here.
CREATE TABLE feed_marks (
    id INTEGER PRIMARY KEY,
    pruned_to BIGINT NOT NULL
);
INSERT INTO feed_marks (id, pruned_to) VALUES (1, 0);

-- What happened before the feed was kept gets its place by its time; the events of one unit have the same. A clock that was
-- set back must not turn an execution's own order, so the latest time so far counts.
INSERT INTO feed (position, event_count, execution_id, last_seq)
SELECT SUM(COUNT(*)) OVER (ORDER BY moment, execution_id), COUNT(*), execution_id, MAX(seq)
FROM (
    SELECT execution_id, seq, MAX(at) OVER (PARTITION BY execution_id ORDER BY seq) AS moment FROM events
) AS timed
GROUP BY moment, execution_id;

CREATE INDEX feed_by_execution ON feed (execution_id, position) WHERE execution_id IS NOT NULL;
CREATE INDEX feed_by_arrival ON feed (at) WHERE at IS NOT NULL;
