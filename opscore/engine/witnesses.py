"""Witnesses: they tell the observers what was written and what was called; none of them can harm a run."""

from __future__ import annotations

import logging
from typing import Optional, Sequence

from opscore.domain.calls import Call, Reply
from opscore.domain.events import Event
from opscore.domain.executions import Unit
from opscore.domain.instants import Seconds
from opscore.domain.ports import Observer, Tracer
from opscore.engine.run import Run

log = logging.getLogger(__name__)


class Witnesses:
    """All observers of one engine."""

    def __init__(self, observers: Sequence[Observer] = (), tracer: Optional[Tracer] = None) -> None:
        self._observers = tuple(observers)
        self._tracer = tracer
        self.are_tracing = tracer is not None

    def begins(self, run: Run, last_events: Sequence[Event] = ()) -> None:
        """A run is to begin, or to go on after a restart: are its spans kept?"""
        if self._tracer is None:
            return
        try:
            run.subject = run.subject.sampled(is_sampled=self._tracer.keeps(run.subject))
            if last_events:
                self._tracer.resumed(run.subject, last_events)
        except Exception:
            log.exception("observer.failed", extra={"execution_id": run.execution_id})

    def wrote(self, run: Run, unit: Unit, seconds: Seconds) -> None:
        """A unit of a run is durable, after that many seconds."""
        for observer in self._observers:
            try:
                observer.wrote(run.subject, unit, seconds)
            except Exception:
                log.exception("observer.failed", extra={"execution_id": run.execution_id})

    def called(self, call: Call, reply: Optional[Reply], seconds: Seconds) -> None:
        """A call came back with a reply, or was dropped (None)."""
        for observer in self._observers:
            try:
                observer.called(call, reply, seconds)
            except Exception:
                log.exception("observer.failed", extra={"execution_id": call.execution_id})
