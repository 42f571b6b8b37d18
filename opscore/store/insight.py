"""Reading what is asked about all executions at once; each query is answered from an index, or bounded."""

from __future__ import annotations

import heapq
import itertools
import sqlite3
from typing import Any, Iterator, Mapping, Sequence

from opscore.domain.executions import Execution, Step, Timing
from opscore.domain.explanations import Record
from opscore.domain.overview import Bucket, Failure, Picture, Tally, WaitingStep, Waits
from opscore.domain.performance import RunSample, Sample, SampleQuery, StepSample
from opscore.store.executions import id_bound, not_found

_LONGEST_WAITS = 20


class InsightReader:
    """Queries about many executions, each a function of a connection."""

    def __init__(self, sql: Mapping[str, str]) -> None:
        self._sql = sql

    def picture(self, connection: sqlite3.Connection, spans: Sequence[Bucket], failures: int) -> Picture:
        """All counts in one snapshot: an execution is in one of them, whatever happens meanwhile."""
        connection.execute("BEGIN")
        try:
            opened = dict(connection.execute(self._sql["open_counts"]).fetchall())
            ended = {row[0]: row[1] for row in connection.execute(self._sql["totals"])}
            newest = connection.execute(self._sql["newest_failures"], {"limit": failures})
            oldest = connection.execute(self._sql["oldest_pending"]).fetchone()
            return Picture(
                pending=opened.get("pending", 0),
                running=opened.get("running", 0),
                paused=opened.get("paused", 0),
                ended=Tally(**ended),
                spans=[self._tally(connection, bucket) for bucket in spans],
                waits=self._waits(connection),
                failures=[Failure(*row) for row in newest],
                queued_since=oldest[0] if oldest else None,
            )
        finally:
            connection.execute("COMMIT")

    def record(self, connection: sqlite3.Connection, execution_id: str) -> Record:
        """One execution and its steps without payloads, in one snapshot. Raises ExecutionNotFound."""
        key = {"execution_id": execution_id}
        connection.execute("BEGIN")
        try:
            row = connection.execute(self._sql["recorded_execution"], key).fetchone()
            if row is None:
                raise not_found(execution_id)
            execution = Execution(*row)
            steps = [Step(*step) for step in connection.execute(self._sql["recorded_steps"], key)]
            begun = dict(connection.execute(self._sql["attempts_begun"], key).fetchall()) if execution.is_open else {}
            ahead = 0
            if execution.status == "pending":
                place = {**key, "priority": execution.priority}
                ahead = connection.execute(self._sql["queued_ahead"], place).fetchone()[0]
        finally:
            connection.execute("COMMIT")
        return Record(execution, steps, begun, ahead)

    def sample(self, connection: sqlite3.Connection, query: SampleQuery) -> Sample:
        """The newest steps that ended since an instant: they are of executions that run, or ended since then."""
        steps: list[StepSample] = []
        ended: list[RunSample] = []
        seen = 0
        connection.execute("BEGIN")
        try:
            params = {"since": query.since, "agent_id": query.agent_id}
            for completed_at, execution_id, flow_id, status, started_at in self._sampled(connection, query):
                rows = connection.execute(
                    self._sql["sampled_steps"], {**params, "execution_id": execution_id}
                ).fetchall()
                seen += 1
                if seen > query.limit or len(steps) + len(rows) > query.limit:
                    return Sample(steps, ended, is_partial=True)
                steps += [_step_sample(flow_id, row) for row in rows]
                if completed_at is not None and (rows or query.agent_id is None):
                    spent = None if started_at is None else (completed_at - started_at) / 1000
                    ended.append(RunSample(flow_id, status == "failed", spent))
        finally:
            connection.execute("COMMIT")
        return Sample(steps, ended, is_partial=False)

    def _sampled(self, connection: sqlite3.Connection, query: SampleQuery) -> Iterator[tuple[Any, ...]]:
        """Executions that run or ended since an instant, newest first, read as they are asked for.

        Those that run have no end yet, and what they did is the newest.
        """
        params = {"since": query.since, "limit": query.limit + 1, "flow_id": query.flow_id}
        if query.flow_id is not None:
            rows = connection.execute(self._sql["sampled_of_flow"], params)
            return (row for row in rows if row[3] == "running" or (row[0] or 0) >= query.since)
        running = connection.execute(self._sql["sampled_running"], params)
        ended = [
            connection.execute(self._sql["sampled_ended"], {**params, "status": status})
            for status in ("completed", "failed", "cancelled")
        ]
        return itertools.chain(running, heapq.merge(*ended, reverse=True))

    def _tally(self, connection: sqlite3.Connection, bucket: Bucket) -> Tally:
        params = {
            "since": bucket.at,
            "until": bucket.end,
            "id_from": id_bound(bucket.at),
            "id_bound": id_bound(bucket.end),
        }
        started = connection.execute(self._sql["started_between"], params).fetchone()[0]
        return Tally(started, **dict(connection.execute(self._sql["ended_between"], params).fetchall()))

    def _waits(self, connection: sqlite3.Connection) -> Sequence[Waits]:
        found = []
        for reason, count, since in connection.execute(self._sql["waiting_counts"]).fetchall():
            wanted = {"reason": reason, "limit": _LONGEST_WAITS}
            longest = [WaitingStep(*row) for row in connection.execute(self._sql["longest_waits"], wanted)]
            found.append(Waits(reason, count, since, longest))
        return found


def _step_sample(flow_id: str, row: tuple[Any, ...]) -> StepSample:
    node_id, agent_id, attempt, status, error_code, *spent = row
    # A node that another output stands in for has completed, and keeps its failure's code.
    is_failed = status == "failed" or error_code is not None
    return StepSample(flow_id, node_id, agent_id, attempt, is_failed, Timing(*spent))
