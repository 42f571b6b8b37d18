"""Witnesses: they tell the observers what was written and what was called; none of them can harm a run."""

from __future__ import annotations

import logging
from typing import Optional, Sequence

from opscore.domain.calls import Call, Reply
from opscore.domain.executions import Unit
from opscore.domain.instants import Seconds
from opscore.domain.ports import Observer, Subject
from opscore.domain.tracing import trace_of
from opscore.engine.run import Run

log = logging.getLogger(__name__)


class Witnesses:
    """All observers of one engine."""

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._observers = tuple(observers)

    def wrote(self, run: Run, unit: Unit, seconds: Seconds) -> None:
        """A unit of a run is durable, after that many seconds."""
        if not self._observers:
            return
        subject = Subject(run.execution_id, run.flow.flow_id, run.flow.version, trace_of(run.execution_id))
        for observer in self._observers:
            try:
                observer.wrote(subject, unit, seconds)
            except Exception:
                log.exception("observer.failed", extra={"execution_id": run.execution_id})

    def called(self, call: Call, reply: Optional[Reply], seconds: Seconds) -> None:
        """A call came back with a reply, or was dropped (None)."""
        for observer in self._observers:
            try:
                observer.called(call, reply, seconds)
            except Exception:
                log.exception("observer.failed", extra={"execution_id": call.execution_id})
