"""Many executions, some at a time, with a progress bar: sdk_batch.py [COUNT [AT_ONCE]].

Needs Ops-Core at OPSCORE_API_URL (http://127.0.0.1:8000) and the agent of sdk_agent.py. The bar is that of rich where
rich is installed.
"""

import asyncio
import sys
from collections import Counter
from contextlib import contextmanager
from typing import Callable, Iterator

from opscore_sdk import OpsCoreClientAsync

FLOW = {"flow_id": "sdk_hello", "nodes": [{"id": "greet", "agent_id": "greeter"}]}
WIDTH = 40


async def batch(client: OpsCoreClientAsync, count: int, at_once: int, advance: Callable[[], None]) -> Counter[str]:
    """How many executions ended in which way; never more than ``at_once`` are open."""
    ends: Counter[str] = Counter()
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:  # all workers take from the same numbers
            done = await client.execute_and_wait("sdk_hello", {"name": f"number {number}"})
            ends[done.status] += 1
            advance()

    await asyncio.gather(*(work() for _ in range(at_once)))
    return ends


@contextmanager
def progress(total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error; call what it gives after each step."""
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        yield plain_bar(total)
        print(file=sys.stderr)
        return
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("Executions", total=total)
        yield lambda: bar.advance(task)


def plain_bar(total: int) -> Callable[[], None]:
    """The same in plain text."""
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        full = WIDTH * done // total
        print(f"\rExecutions [{'#' * full}{'.' * (WIDTH - full)}] {done}/{total}", end="", file=sys.stderr, flush=True)

    return advance


async def main(count: int = 100, at_once: int = 10) -> None:
    """Run the batch and say how it ended."""
    async with OpsCoreClientAsync() as client:
        await client.create_flow(FLOW)
        with progress(count) as advance:
            ends = await batch(client, count, at_once, advance)
    print(", ".join(f"{number} {status}" for status, number in ends.items()))


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:3])))
