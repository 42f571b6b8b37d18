"""The bell: it wakes whoever follows an execution. It carries nothing; what is new is read from the store."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Callable, Iterator, Mapping

_NOBODY: Mapping[object, Callable[[], object]] = {}


class Bell:
    """Listeners by execution."""

    def __init__(self) -> None:
        self._listeners: dict[str, dict[object, Callable[[], object]]] = {}

    @contextmanager
    def listening(self, execution_id: str, on_change: Callable[[], object]) -> Iterator[None]:
        """Have ``on_change`` called after each change, within the block; it must not listen or leave itself."""
        listeners = self._listeners.setdefault(execution_id, {})
        place = object()
        listeners[place] = on_change
        try:
            yield
        finally:
            del listeners[place]
            if not listeners:
                del self._listeners[execution_id]

    def ring(self, execution_id: str) -> None:
        """Something of the execution was written."""
        for on_change in self._listeners.get(execution_id, _NOBODY).values():
            on_change()
