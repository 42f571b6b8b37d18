from __future__ import annotations

import asyncio
from typing import Optional, Sequence

import pytest
from harness import Bench, bench

from opscore.domain.agents import AgentSpec, AgentView
from opscore.domain.calls import Answered, Deferred, Probe, Refused
from opscore.domain.errors import Unavailable
from opscore.domain.ports import NotOffered
from opscore.engine.services.prober import Probing

GONE = Refused("AGENT_UNREACHABLE", "no connection", retryable=True)
SLOW = {"retry": {"max_attempts": 1}}


async def view(b: Bench, agent_id: str) -> AgentView:
    return await b.agents.get(agent_id)


async def failed(b: Bench, count: int, **more: object) -> None:
    """So many executions that could not reach their agent."""
    b.script.answers = lambda call: GONE
    for n in range(count):
        assert (await b.ended(await b.start({"x": []}, node=SLOW, metadata={"n": n, **more}))).status == "failed"


async def test_an_agent_that_cannot_be_reached_is_left_alone() -> None:
    """After so many failures in a row it gets no work for a while; who waits for it knows why and until when."""
    async with bench(breaker_failures=3, breaker_pause=10.0) as b:
        await failed(b, 2)
        assert (await view(b, "a")).observed.breaker.state == "closed"
        await failed(b, 1, round=2)
        breaker = (await view(b, "a")).observed.breaker
        assert (breaker.state, breaker.failures, breaker.reason) == ("open", 3, "no connection")
        assert breaker.retry_at == b.clock.now() + 10_000_000
        assert (await view(b, "a")).status == "error"
        done = await b.start({"x": []}, node=SLOW)
        waits = (await b.waiting(done, "agent")).waiting[0]
        assert (waits.detail, waits.until) == ("The agent cannot be reached: no connection", breaker.retry_at)
        await b.executions.cancel(done, None)
        await b.at_rest()


async def test_one_trial_decides_over_the_breaker() -> None:
    """After the pause one call leaves; when it fails the pause doubles, when it succeeds all is as before."""
    async with bench(breaker_failures=2, breaker_pause=10.0) as b:
        await failed(b, 2)
        b.script.answers = None
        started = [await b.start({f"x{n}": []}, node=SLOW) for n in range(3)]
        for execution_id in started:
            await b.waiting(execution_id, "agent")
        b.clock.advance(9.9)
        assert len(b.script.calls) == 2
        b.clock.advance(0.1)
        await b.script.called(3)
        assert (await view(b, "a")).observed.breaker.state == "half_open"
        b.script.refuse("x0", GONE)
        await b.ended(started[0])
        breaker = (await view(b, "a")).observed.breaker
        assert (breaker.state, breaker.retry_at) == ("open", b.clock.now() + 20_000_000)
        assert len(b.script.calls) == 3
        b.clock.advance(20)
        await b.script.called(4)
        assert b.script.nodes[3] == "x1"
        b.script.answer("x1")
        await b.script.called(5)
        breaker = (await view(b, "a")).observed.breaker
        assert (breaker.state, breaker.failures, breaker.since) == ("closed", 0, None)
        b.script.answer("x2")
        assert [(await b.ended(one)).status for one in started] == ["failed", "completed", "completed"]
        await b.at_rest()


async def test_an_answer_between_failures_keeps_the_breaker_closed() -> None:
    """Only failures one after the other count, and an agent's own error is an answer."""
    async with bench(breaker_failures=2) as b:
        for n, reply in enumerate([GONE, Answered({}), GONE, Refused("AGENT_ERROR", "no", retryable=True), GONE]):
            b.script.answers = lambda call, reply=reply: reply  # type: ignore[misc]
            await b.ended(await b.start({"x": []}, node=SLOW, metadata={"n": n}))
        assert (await view(b, "a")).observed.breaker.state == "closed"


async def test_what_is_no_word_of_the_agent_says_nothing_of_it() -> None:
    """An agent that lets its time pass, or was never called, has not been seen and closes no breaker."""
    async with bench(breaker_failures=1, breaker_pause=10.0) as b:
        done = await b.start({"x": []}, node={**SLOW, "timeout": 5})
        await b.script.called(1)
        b.clock.advance(5)
        assert (await b.ended(done)).error_code == "NODE_TIMEOUT"
        found = await view(b, "a")
        assert (found.observed.last_seen, found.status) == (None, "inactive")
        await failed(b, 1)
        b.script.answers = None
        b.clock.advance(10)
        done = await b.start({"x": []}, node={**SLOW, "timeout": 5}, metadata={"n": 2})
        await b.script.called(3)
        b.clock.advance(5)
        await b.ended(done)
        assert (await view(b, "a")).observed.breaker.state == "half_open"


async def test_a_capability_goes_round_an_agent_that_is_left_alone() -> None:
    """Others that have it get the work."""
    async with bench(breaker_failures=1) as b:
        for name in ("one", "two"):
            await b.agent(name, "c", protocol="script")
        b.script.answers = lambda call: GONE if call.agent.spec.agent_id == "one" else Answered({})
        node = {"agent_id": None, "capability": "c", "retry": {"max_attempts": 2, "initial_interval": 1}}
        done = await b.start({"x": []}, node=node)
        await b.waiting(done, "retry")
        b.clock.advance(1)
        assert (await b.ended(done)).status == "completed"
        for n in range(3):
            assert (await b.ended(await b.start({"x": []}, node=node, metadata={"n": n}))).failures == 0
        assert [call.agent.spec.agent_id for call in b.script.calls] == ["one", "two", "two", "two", "two"]
        await b.at_rest()


async def test_an_agent_that_is_registered_anew_begins_anew() -> None:
    """What was seen of its predecessor does not keep it from work."""
    async with bench(breaker_failures=1) as b:
        await failed(b, 1)
        b.script.answers = lambda call: Answered({})
        done = await b.start({"x": []}, node=SLOW, metadata={"n": 2})
        await b.waiting(done, "agent")
        await b.agents.delete("a")
        assert (await b.ended(done)).error_code == "AGENT_NOT_FOUND"
        await b.agents.register(AgentSpec("a", "a", "script"))
        assert (await b.ended(await b.start({"x": []}, node=SLOW, metadata={"n": 3}))).status == "completed"
        await b.at_rest()


async def test_silence_is_noticed_and_ends_with_a_report() -> None:
    """An agent that reports and then says nothing for long is offline; its next report brings it back."""
    async with bench(offline_after=60.0, probing=Probing(interval=10.0, jitter=0.0)) as b:
        await b.agent("k")
        await b.later.probed_by(1)
        b.later.health["k"] = Probe(connected=False, message="none", has_health=False)
        await turns(b)
        b.clock.advance(10)
        await b.later.probed_by(2)
        await b.report("k", "idle")
        assert (await view(b, "k")).state == "idle"
        b.clock.advance(59)
        await turns(b)
        assert (await view(b, "k")).state == "idle"
        for _ in range(3):
            b.clock.advance(10)
            await turns(b)
        found = await view(b, "k")
        assert (found.state, found.status) == ("offline", "error")
        await b.report("k", "idle")
        found = await view(b, "k")
        assert (found.state, found.status) == ("idle", "active")


async def test_silence_is_noticed_without_probes() -> None:
    """Nobody needs to be asked for their health for that."""
    async with bench(offline_after=60.0) as b:
        await b.agent("k")
        await b.report("k", "idle")
        for _ in range(10):
            b.clock.advance(10)
            await turns(b)
        assert (await view(b, "k")).state == "offline"
        assert not b.later.probed


async def test_an_agent_at_work_is_not_silent() -> None:
    """While it holds a task it need not say anything."""
    async with bench(offline_after=60.0, probing=Probing(interval=10.0, jitter=0.0), node_timeout=1000.0) as b:
        await b.agent("k")
        await b.report("k", "idle")
        b.later.answers = lambda call: Deferred()
        done = await b.start({"x": []}, node={"agent_id": "k"})
        await b.waiting(done, "agent")
        b.later.health["k"] = Probe(connected=False, message="none", has_health=False)
        for _ in range(20):
            b.clock.advance(10)
            await turns(b)
        assert (await view(b, "k")).state == "idle"
        await b.report("k", "active")
        b.clock.advance(1)
        await b.report("k", "idle")
        assert (await b.ended(done)).status == "completed"
        await b.at_rest()


async def test_health_is_what_the_last_look_showed() -> None:
    """Well, unwell, nothing to ask, or nobody there, each with its message."""
    async with bench(probing=Probing(interval=10.0, jitter=0.0), breaker_failures=2) as b:
        await b.script.probed_by(1)
        assert (await seen(b)) == ("healthy", "scripted", "active")
        b.clock.advance(10)
        b.script.health["a"] = Probe(connected=False, message="on fire")
        await b.script.probed_by(2)
        assert (await seen(b)) == ("unhealthy", "on fire", "error")
        b.script.health["a"] = Probe(connected=False, message="no connection", is_reachable=False)
        b.clock.advance(10)
        await b.script.probed_by(3)
        assert (await seen(b)) == ("unreachable", "no connection", "error")
        assert (await view(b, "a")).observed.breaker.state == "closed"
        b.clock.advance(10)
        await b.script.probed_by(4)
        await turns(b)
        assert (await view(b, "a")).observed.breaker.state == "open"
        b.script.health["a"] = Probe(connected=True, message="back")
        b.clock.advance(10)
        await b.script.probed_by(5)
        assert (await seen(b)) == ("healthy", "back", "active")
        assert (await view(b, "a")).observed.breaker.state == "closed"


async def test_an_agent_without_health_is_rarely_asked() -> None:
    """One that has nothing to ask for its health is not unwell, and asked again after ten intervals."""
    async with bench(probing=Probing(interval=10.0, jitter=0.0)) as b:
        await b.script.probed_by(1)
        b.script.health["a"] = Probe(connected=False, message="404", has_health=False)
        await turns(b)
        b.clock.advance(10)
        await b.script.probed_by(2)
        await turns(b)
        assert (await seen(b)) == ("unknown", "404", "active")
        for _ in range(9):
            b.clock.advance(10)
            await turns(b)
        assert len(b.script.probed) == 2
        b.clock.advance(10)
        await b.script.probed_by(3)


async def test_a_new_agent_is_asked_at_once() -> None:
    """Registering rings the prober."""
    async with bench(probing=Probing(interval=1000.0)) as b:
        await b.script.probed_by(1)
        await b.agent("n", protocol="script")
        await b.script.probed_by(2)
        assert b.script.probed == ["a", "n"]


async def test_an_agent_that_changes_while_it_is_asked_is_asked_again() -> None:
    """What its old address said is not said of the new one, which is asked at once."""
    async with bench(probing=Probing(interval=1000.0)) as b:
        await b.script.probed_by(1)
        asked: list[tuple[Optional[str], Optional[str]]] = []
        answer = asyncio.Event()

        async def probe(endpoint: Optional[str], agent_id: Optional[str] = None) -> Probe:
            asked.append((agent_id, endpoint))
            if endpoint == "old":
                await answer.wait()
            return Probe(connected=endpoint == "new", message=f"said by {endpoint}")

        b.script.probe = probe  # type: ignore[method-assign]
        await b.agents.register(AgentSpec("n", "n", "script", endpoint="old"))
        await turns(b)
        await b.store.replace_agent(AgentSpec("n", "n", "script", endpoint="new"), b.clock.now())
        b.engine.agent_changed("n")
        answer.set()
        await turns(b)
        assert asked == [("n", "old"), ("n", "new")]
        assert (await view(b, "n")).observed.health_message == "said by new"


class Listed:
    """A directory that lists what the test says."""

    def __init__(self, *specs: AgentSpec) -> None:
        self.specs: Sequence[AgentSpec] = specs
        self.error: Optional[Exception] = None
        self.reads = 0

    async def agents(self) -> Sequence[AgentSpec]:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.specs


async def read(b: Bench, listed: Listed) -> None:
    """The directory is read once more."""
    reads = listed.reads
    await turns(b)
    b.clock.advance(60)
    while listed.reads == reads:
        await b.store.queue_length()
    await turns(b)


async def test_agents_come_and_go_with_the_directory() -> None:
    """Who is listed is registered, changed with the list, and forgotten when it is listed no more; others stay."""
    listed = Listed(AgentSpec("k", "k", "later"), AgentSpec("a", "other", "later"))
    async with bench(directory=listed) as b:
        await b.agent("mine")
        done = await b.start({"x": []}, node={"agent_id": None, "capability": "c"})
        await turns(b)
        found = await view(b, "k")
        assert (found.agent.source, found.agent.spec.name) == ("discovery", "k")
        assert (await view(b, "a")).agent.spec.protocol == "script"
        listed.specs = [AgentSpec("k", "k", "later", capabilities=("c",))]
        await read(b, listed)
        await b.later.called(1)
        b.later.take()
        await b.waiting(done, "agent")
        await b.report("k", "idle", taskId="x")
        assert (await b.ended(done)).status == "completed"
        listed.error = Unavailable("AgentKit is down")
        await read(b, listed)
        assert b.store.agent_now("k") is not None
        listed.error, listed.specs = None, []
        await read(b, listed)
        assert [agent.spec.agent_id for agent in await b.store.agents()] == ["a", "mine"]
        await b.at_rest()


async def test_a_directory_that_is_not_offered_is_not_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    """One line says so, and that is all."""
    listed = Listed()
    listed.error = NotOffered("no such list")
    caplog.set_level("INFO")
    async with bench(directory=listed) as b:
        for _ in range(5):
            await turns(b)
            b.clock.advance(60)
        assert listed.reads == 1
        assert [record.message for record in caplog.records if "discovery" in record.message] == ["discovery.off"]


async def seen(b: Bench) -> tuple[str, Optional[str], str]:
    await turns(b)
    found = await view(b, "a")
    return found.observed.health, found.observed.health_message, found.status


async def turns(b: Bench) -> None:
    """Let everything go on that does not wait for the clock or the test."""
    for _ in range(20):
        await b.store.queue_length()
