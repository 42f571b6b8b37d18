"""Measure Ops-Core beside the floor, in one run, and print a table.

    python benchmarks/run.py [NAME ...] [--quick]

Names: throughput fanout latency reports scale history memory idle readers sdk logs, or all.

Floor and system take turns; figures are medians, and what counts are their ratios: the machine is noisy.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import statistics
import time
from pathlib import Path
from typing import Any, Awaitable, Callable

import readers as reading
import reports as reporting
import sdk as client_sdk
import systems
import uvloop
from rich.console import Console
from rich.table import Table
from systems import System

Row = tuple[str, str, str, str]
"""What, the floor's figure, ours, the ratio or the aim."""
Measure = Callable[[str, bool], Awaitable[list[Row]]]


async def rate(system: System, flow: str, count: int, lanes: int) -> float:
    """Executions per second with so many in flight."""
    todo = iter(range(count))

    async def lane() -> None:
        last = None
        for n in todo:
            last = await system.run(flow, n)
        while last and (await system.get(f"/executions/{last}"))["status"] != "completed":
            await asyncio.sleep(0.002)

    begun = time.perf_counter()
    await asyncio.gather(*[lane() for _ in range(lanes)])
    return count / (time.perf_counter() - begun)


async def median_ms(work: Callable[[int], Awaitable[Any]], count: int) -> float:
    """The median time of one at a time, in milliseconds."""
    spans = []
    for n in range(count):
        begun = time.perf_counter()
        await work(n)
        spans.append(time.perf_counter() - begun)
    return statistics.median(spans) * 1000


async def alternate(agent: str, measure: Callable[[System], Awaitable[float]], rounds: int) -> tuple[float, float]:
    """Medians of the floor and of Ops-Core, measured in turns."""
    ours, theirs = [], []
    async with systems.floor(agent) as floor, systems.opscore(agent) as opscore:
        for system in (floor, opscore):
            await rate(system, "chain-3", 200, 16)
        for _ in range(rounds):
            theirs.append(await measure(floor))
            ours.append(await measure(opscore))
    return statistics.median(theirs), statistics.median(ours)


async def throughput(agent: str, quick: bool) -> list[Row]:
    """Three steps in a row, 64 in flight."""
    count, rounds = (600, 1) if quick else (2000, 5)
    floor, ours = await alternate(agent, lambda system: rate(system, "chain-3", count, 64), rounds)
    return [("3 steps, 64 in flight, executions/s", f"{floor:.0f}", f"{ours:.0f}", f"{ours / floor:.2f} (>= 0.5)")]


async def fanout(agent: str, quick: bool) -> list[Row]:
    """One, fifty at once, one."""
    count, rounds = (60, 1) if quick else (200, 5)
    floor, ours = await alternate(agent, lambda system: rate(system, "fan-50", count, 8), rounds)
    return [("1 + 50 + 1, 8 in flight, executions/s", f"{floor:.0f}", f"{ours:.0f}", f"{ours / floor:.2f} (>= 0.5)")]


async def latency(agent: str, quick: bool) -> list[Row]:
    """Three steps in a row, one in flight."""
    count, rounds = (60, 1) if quick else (200, 5)
    floor, ours = await alternate(
        agent, lambda system: median_ms(lambda n: system.complete("chain-3", n), count), rounds
    )
    return [("3 steps, 1 in flight, p50 ms", f"{floor:.2f}", f"{ours:.2f}", f"{ours / floor:.2f} (<= 1.6)")]


async def scale(agent: str, quick: bool) -> list[Row]:
    """Cost per node of large flows against small ones."""
    rounds = 1 if quick else 5
    rows: list[Row] = []
    async with systems.opscore(agent) as opscore:
        for small, few, large, many in (("chain-50", 50, "chain-1000", 1000), ("fan-50", 52, "fan-998", 1000)):
            await opscore.complete(small, 0)
            costs: dict[str, list[float]] = {small: [], large: []}
            for _ in range(rounds):
                for flow, nodes in ((small, few), (large, many)):
                    cpu = opscore.cpu()
                    repeats = max(1, 1000 // nodes)
                    for n in range(repeats):
                        await opscore.complete(flow, n)
                    costs[flow].append((opscore.cpu() - cpu) / repeats / nodes * 1e6)
            before, after = (statistics.median(costs[flow]) for flow in (small, large))
            rows.append(
                (f"{large} per node, CPU us", f"{before:.0f} ({small})", f"{after:.0f}", f"{after / before:.2f} (<= 2)")
            )
    return rows


async def history(agent: str, quick: bool) -> list[Row]:
    """Start, get and list with many finished executions stored."""
    stored, count, rounds = (5_000, 100, 1) if quick else (100_000, 200, 9)
    async with systems.opscore(agent) as empty, systems.opscore(agent) as full:
        await rate(full, "chain-1", 100, 16)
        await rate(empty, "chain-1", 100, 16)
        await asyncio.get_running_loop().run_in_executor(None, _fill, full.directory, stored)
        names = {
            system.url: (await system.get("/executions?limit=1"))["executions"][0]["execution_id"]
            for system in (empty, full)
        }
        works: dict[str, Callable[[System], Callable[[int], Awaitable[Any]]]] = {
            "start": lambda s: lambda n: s.post("/flows/execute", {"flow_id": "chain-1", "input_data": {"n": n}}),
            "get": lambda s: lambda n: s.get(f"/executions/{names[s.url]}"),
            "list of 50": lambda s: lambda n: s.get("/executions?limit=50"),
        }
        rows: list[Row] = []
        for name, work in works.items():
            spans: dict[str, list[float]] = {empty.url: [], full.url: []}
            for _ in range(rounds):
                for system in (empty, full):
                    spans[system.url].append(await median_ms(work(system), count))
            a, b = statistics.median(spans[empty.url]), statistics.median(spans[full.url])
            rows.append((f"{name} with {stored:,} stored, ms", f"{a:.2f} (empty)", f"{b:.2f}", f"{b / a:.2f} (<= 1.1)"))
    return rows


def _fill(directory: str, count: int) -> None:
    """Copy a finished execution many times; the server is idle and its own writes go on afterwards."""
    connection = sqlite3.connect(f"{directory}/opscore.db", timeout=30)
    (one,) = connection.execute("SELECT execution_id FROM executions WHERE status = 'completed' LIMIT 1").fetchone()
    for table in ("executions", "execution_inputs", "steps", "events"):
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "execution_id"]
        columns = ", ".join(names)
        connection.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
            f"INSERT INTO {table} (execution_id, {columns}) "
            f"SELECT '00000000-0000-7000-8000-' || printf('%012d', i), {columns} "
            f"FROM n, {table} WHERE execution_id = ?",
            (one,),
        )
    connection.commit()
    connection.close()


async def memory(agent: str, quick: bool) -> list[Row]:
    """Executions that wait on agents of sixty seconds."""
    count = 500 if quick else 10_000
    rows: list[Row] = []
    for name, environment in (("as installed", {}), ("all calls open", {"OPSCORE_MAX_CALLS": "10000"})):
        async with systems.opscore(agent, **environment) as opscore:
            todo = iter(range(count))

            async def lane(system: System = opscore, left: Any = todo) -> None:
                for n in left:
                    await system.post("/flows/execute", {"flow_id": "slow", "input_data": {"n": n}})

            await asyncio.gather(*[lane() for _ in range(32)])
            spans = []
            for _ in range(200):
                begun = time.perf_counter()
                await opscore.get("/health")
                spans.append((time.perf_counter() - begun) * 1000)
            p99 = sorted(spans)[int(len(spans) * 0.99)]
            status = await opscore.get("/status")
            held = f"{status['executions']['running']:,} waiting"
            rows.append((f"{held}, {name}: MB", "", f"{opscore.memory():.0f}", "(<= 400)"))
            rows.append((f"{held}, {name}: p99 of /health, ms", "", f"{p99:.1f}", "(<= 250)"))
    return rows


async def idle(agent: str, quick: bool) -> list[Row]:
    """Nothing to do: no writes, no CPU."""
    seconds = 3 if quick else 20
    async with systems.opscore(agent) as opscore:
        await asyncio.sleep(2)
        cpu, written = opscore.cpu(), _written(opscore.pid)
        await asyncio.sleep(seconds)
        share = (opscore.cpu() - cpu) / seconds * 100
        return [("idle: bytes written / CPU %", "", f"{_written(opscore.pid) - written} / {share:.2f}", "(0 / < 1)")]


async def reports(agent: str, quick: bool) -> list[Row]:
    """Agents that report their states."""
    seconds, rounds, agents, minute = (1.0, 1, 100, 5) if quick else (4.0, 5, 1000, 60)
    theirs, ours = [], []
    async with systems.floor(agent) as floor, systems.opscore(agent) as opscore:
        names = await reporting.register(opscore, agents)
        for system in (floor, opscore):
            await reporting.rate(system, names[:50], 64, 1.0)
        for _ in range(rounds):
            theirs.append(await reporting.rate(floor, names[:50], 64, seconds))
            ours.append(await reporting.rate(opscore, names[:50], 64, seconds))
        a, b = statistics.median(theirs), statistics.median(ours)
        tally = await reporting.every_second(opscore, names, minute)
    fleet = f"{agents:,} agents, one report a second, {minute} s"
    return [
        ("state reports, 64 in flight, reports/s", f"{a:.0f}", f"{b:.0f}", f"{b / a:.2f} (>= 0.25)"),
        (f"{fleet}: failures of {tally.taken + tally.failed:,}", "", f"{tally.failed}", "(0)"),
        (f"{fleet}: p99, ms", "", f"{tally.p99():.1f}", "(<= 250)"),
    ]


async def readers(agent: str, quick: bool) -> list[Row]:
    """Starts at a steady rate, with and without hundreds of readers of all events, by turns."""
    count, per_second, seconds, rounds = (50, 50, 2.0, 1) if quick else (500, 100, 4.0, 7)
    crowds = {
        "idle, each for an agent that does nothing": [f"?agent_id=nobody-{n}" for n in range(count)],
        "idle, each for failures": ["?type=node.failed", "?type=execution.failed"] * (count // 2),
        "of every event": [""] * count,
    }
    rows: list[Row] = []
    async with systems.opscore(agent) as opscore:

        async def measure() -> tuple[float, float]:
            cpu = opscore.cpu()
            spans = await reading.starts(opscore, per_second, seconds)
            return reading.p99(spans), (opscore.cpu() - cpu) / len(spans) * 1000

        await measure()
        for name, queries in crowds.items():
            without: list[tuple[float, float]] = []
            among: list[tuple[float, float]] = []
            for _ in range(rounds):
                without.append(await measure())
                async with reading.following(opscore, queries) as crowd:
                    among.append(await measure())
                    if crowd.closed:
                        raise RuntimeError(f"{crowd.closed} streams were closed")
            what = (
                f"{count} readers, {name}: p99 of {per_second} starts/s, ms",
                "the same: CPU of the server a start, ms",
            )
            for index, aim in enumerate(("(<= 1.5)" if name.startswith("idle") else "", "")):
                a, b = (statistics.median(one[index] for one in found) for found in (without, among))
                rows.append((what[index], f"{a:.1f} (none)", f"{b:.1f}", f"{b / a:.2f} {aim}"))
    return rows


async def sdk(agent: str, quick: bool) -> list[Row]:
    """The SDK beside bare aiohttp: a batch of executions, and how soon the end of one is known."""
    count, looks, rounds = (200, 20, 1) if quick else (1000, 100, 9)
    async with systems.opscore(agent) as opscore:
        await client_sdk.define(opscore)
        spent = await client_sdk.batches(opscore, count, 50, rounds)
        late = await client_sdk.lateness(opscore, looks)
    bare, rows = spent["bare"], []
    for name, ours in (("asynchronous", spent["async"]), ("synchronous, 50 threads", spent["sync"])):
        what = f"SDK ({name}) beside bare aiohttp: {count:,} executions, 50 at once"
        ratio, cpu_ratio = ours.clock / bare.clock, ours.cpu / bare.cpu
        rows.append((f"{what}, s", f"{bare.clock:.2f}", f"{ours.clock:.2f}", f"{ratio:.2f} (<= 1.3)"))
        rows.append(("the same: CPU of the client, s", f"{bare.cpu:.2f}", f"{ours.cpu:.2f}", f"{cpu_ratio:.2f}"))
    return [*rows, ("SDK: the end of an execution is known after, p50 ms", "", f"{late:.1f}", "(<= 20)")]


async def logs(agent: str, quick: bool) -> list[Row]:
    """The log written as JSON and kept in the store, against a log at ERROR that is not kept, in many short turns."""
    count, rounds = (300, 2) if quick else (500, 31)
    off = {"OPSCORE_LOG_LEVEL": "ERROR", "OPSCORE_LOG_KEEP": "0", "OPSCORE_LOG_FORMAT": "json"}
    rows: list[Row] = []
    for level, aim in (("INFO", " (>= 0.94)"), ("DEBUG", "")):
        on = {"OPSCORE_LOG_LEVEL": level, "OPSCORE_LOG_FORMAT": "json"}
        async with systems.opscore(agent, **off) as quiet, systems.opscore(agent, **on) as telling:
            pairs = [await _pair(quiet, telling, count, turn) for turn in range(rounds)][1:]
        a, b, c, d = (statistics.median(figures) for figures in zip(*pairs))
        ratio = statistics.median(telling / quiet for quiet, telling, *_ in pairs)
        cpu = statistics.median(telling / quiet for *_, quiet, telling in pairs)
        what = f"log at {level}, kept, against none"
        rows.append((f"{what}: executions/s", f"{a:.0f} (none)", f"{b:.0f}", f"{ratio:.3f}{aim}"))
        rows.append(("the same: CPU of the server an execution, us", f"{c:.0f} (none)", f"{d:.0f}", f"{cpu:.3f}"))
    return rows


async def _pair(quiet: System, telling: System, count: int, turn: int) -> tuple[float, float, float, float]:
    """Executions per second of both, one after the other, and CPU microseconds an execution; by turns one is first."""
    found: dict[str, tuple[float, float]] = {}
    for system in (quiet, telling) if turn % 2 else (telling, quiet):
        cpu = system.cpu()
        speed = await rate(system, "chain-3", count, 64)
        found[system.url] = speed, (system.cpu() - cpu) / count * 1e6
    (a, c), (b, d) = found[quiet.url], found[telling.url]
    return a, b, c, d


def _written(pid: int) -> int:
    lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


MEASURES: dict[str, Measure] = {
    measure.__name__: measure
    for measure in (throughput, fanout, latency, reports, scale, history, memory, idle, readers, sdk, logs)
}


async def main(names: list[str], quick: bool) -> None:
    """Measure and print."""
    table = Table(title="Ops-Core beside the floor" + (" (quick: too short to judge by)" if quick else ""))
    for column in ("what", "floor", "Ops-Core", "ratio (aim)"):
        table.add_column(column)
    async with systems.agent() as agent:
        for name in names:
            for row in await MEASURES[name](agent, quick):
                table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["all"], choices=[*MEASURES, "all"])
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it works")
    options = parser.parse_args()
    uvloop.install()
    asyncio.run(main(list(MEASURES) if "all" in options.what else options.what, options.quick))
