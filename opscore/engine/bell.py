"""The bell: it wakes whoever follows an execution, or all. It carries nothing; what is new is read from the store."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Callable, Iterator, Mapping, Optional

_NOBODY: Mapping[object, Callable[[], object]] = {}


class Bell:
    """Listeners by execution, and the one who listens for everything."""

    def __init__(self, on_any: Callable[[], object] = lambda: None) -> None:
        """Take what it works with.

        Args:
            on_any: Called after each change of anything. It must be quick.
        """
        self._on_any = on_any
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

    def ring(self, execution_id: Optional[str]) -> None:
        """Something was written, of an execution or outside of any."""
        self._on_any()
        for on_change in self._listeners.get(execution_id, _NOBODY).values() if execution_id is not None else ():
            on_change()
