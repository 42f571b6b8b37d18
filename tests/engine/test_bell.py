from __future__ import annotations

import asyncio

from harness import Bench, bench


async def follow(b: Bench, execution_id: str, after: int = 0) -> list[str]:
    """The types of all events, read in small pages and after a ring only."""
    rung = asyncio.Event()
    types: list[str] = []
    with b.executions.listening(execution_id, rung.set):
        while True:
            rung.clear()
            page = await b.executions.history(execution_id, after + len(types), 2)
            assert [event.seq for event in page.events] == [after + len(types) + i + 1 for i in range(len(page.events))]
            types += [event.type for event in page.events]
            if page.is_last(2):
                return types
            if len(page.events) < 2:
                await asyncio.wait_for(rung.wait(), 5)


async def test_who_listens_hears_of_every_commit() -> None:
    """Readers that look only when the bell rings read every event of a run, in order, to its end."""
    async with bench() as b:
        done = await b.start({"a": [], "b": ["a"]})
        readers = [asyncio.ensure_future(follow(b, done, after)) for after in (0, 0, 3)]
        for count, node_id in enumerate(("a", "b"), 1):
            await b.script.called(count)
            b.script.answer(node_id)
        one, other, later = await asyncio.gather(*readers)
        assert one == other == ["execution.accepted", "execution.started", *["node.started", "node.completed"] * 2,
            "execution.completed"]  # fmt: skip
        assert later == one[3:]
        assert not b.engine._bell._listeners


async def test_the_queue_rings_too() -> None:
    """An execution that waits is followed to its beginning, its expiry or its cancellation; whoever waits is told."""
    async with bench(open_runs=1) as b:
        await b.start({"first": []})
        await b.script.called(1)
        names = [await b.start({"next": []}, timeout=timeout) for timeout in (60, 50, 5)]
        begun, dropped, late = names
        readers = [asyncio.ensure_future(follow(b, name)) for name in names]
        waiting = asyncio.ensure_future(b.executions.wait(late, 300))
        await asyncio.wait([waiting], timeout=0)
        b.clock.advance(6)
        await b.executions.cancel(dropped, None)
        b.script.answer("first")
        await b.script.called(2)
        b.script.answer("next")
        found = dict(zip(names, await asyncio.gather(*readers)))
        assert found[late] == ["execution.accepted", "execution.failed"]
        assert found[dropped] == ["execution.accepted", "execution.cancel_requested", "execution.cancelled"]
        assert found[begun][-1] == "execution.completed"
        assert (await asyncio.wait_for(waiting, 5)).status == "failed"
