"""Inputs and outputs at hand: a bounded cache over the store, which holds all of them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Mapping

import orjson

from opscore.domain.flows import Node
from opscore.domain.ports import Store

_INPUT = ""
"""The execution's input, among outputs by node id (which are never empty)."""
_LARGEST = 64 * 1024


class Payloads:
    """The payloads of open executions, as JSON text; the least recently used are read again when needed."""

    def __init__(self, store: Store, budget: int = 64 * 1024 * 1024) -> None:
        """Take what it works with.

        Args:
            store: Has everything.
            budget: Most characters to keep.
        """
        self._store = store
        self._budget = budget
        self._size = 0
        self._kept: OrderedDict[str, dict[str, str]] = OrderedDict()

    def put_input(self, execution_id: str, text: str) -> None:
        """Keep an execution's input, if it is small."""
        self.put(execution_id, _INPUT, text)

    def put(self, execution_id: str, node_id: str, text: str) -> None:
        """Keep a node's output, if it is small."""
        if len(text) > _LARGEST:
            return
        kept = self._kept.setdefault(execution_id, {})
        self._size += len(text) - len(kept.get(node_id, ""))
        kept[node_id] = text
        while self._size > self._budget:
            _, oldest = self._kept.popitem(last=False)
            self._size -= sum(map(len, oldest.values()))

    def forget(self, execution_id: str) -> None:
        """Drop what an execution has here."""
        kept = self._kept.pop(execution_id, None)
        if kept is not None:
            self._size -= sum(map(len, kept.values()))

    async def gather(self, execution_id: str, node: Node) -> tuple[dict[str, Any], Mapping[str, dict[str, Any]]]:
        """The execution's input and the outputs that a node builds on, by node id.

        Raises:
            StoreError: What is not at hand could not be read.
        """
        kept = self._kept.get(execution_id, {})
        if kept:
            self._kept.move_to_end(execution_id)
        given = kept.get(_INPUT)
        if given is None:
            given = await self._store.input(execution_id)
            self.put_input(execution_id, given)
        outputs = {before: kept[before] for before in node.depends_on if before in kept}
        missing = [before for before in node.depends_on if before not in outputs]
        if missing:
            read = await self._store.outputs(execution_id, missing)
            for before, text in read.items():
                self.put(execution_id, before, text)
            outputs.update(read)
        return orjson.loads(given), {before: orjson.loads(text) for before, text in outputs.items()}
