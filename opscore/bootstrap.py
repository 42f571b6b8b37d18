"""The composition root: it builds, ties and closes all parts, and nobody else knows all of them."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Callable, Mapping, Optional, Sequence

import attrs
from aiohttp import web

from opscore.domain.capacity import Capacity
from opscore.domain.errors import Invalid, InvalidFiles, StoreError
from opscore.domain.files import Checked
from opscore.domain.ports import AgentProtocol, Directory, Observer, Tracer
from opscore.engine import Engine, FleetLimits, Limits, Probing, SystemClock, open_engine
from opscore.folders import read_folder
from opscore.operations import (
    Agents,
    Events,
    Executions,
    Flows,
    Insight,
    Keys,
    Logs,
    Operations,
    Overview,
    Sessions,
    Webhook,
    definitions,
)
from opscore.protocols import AgentKit, Discretion, Handler, open_protocols
from opscore.settings import Settings, check_settings
from opscore.store import SqlStore, migrate_database, open_store
from opscore.telemetry.keeper import Keeping, open_keeper
from opscore.telemetry.logs import open_logs
from opscore.telemetry.metrics import Metrics, Sources
from opscore.telemetry.observer import LogObserver
from opscore.telemetry.pipeline import Pipeline
from opscore.telemetry.secrets import Secrets
from opscore.telemetry.traces import open_traces
from opscore.version import __version__
from opscore.web.app import WebConfig, make_app
from opscore.web.config import TRACER

log = logging.getLogger(__name__)

SERVER_OPTIONS: Mapping[str, Any] = {
    "access_log": None,
    "keepalive_timeout": 15.0,
    # Compressed bodies are refused unread: what a few kilobytes could become never is.
    "auto_decompress": False,
}
"""Options for whoever runs the application: ``web.AppRunner(app, **SERVER_OPTIONS)``."""

LocalAgents = Mapping[str, Handler]
OnFatal = Callable[[str], object]


@attrs.frozen
class Parts:
    """What :func:`running` built."""

    operations: Operations
    engine: Engine
    tracer: Optional[Tracer]


@asynccontextmanager
async def running_parts(
    settings: Settings,
    local_agents: Optional[LocalAgents] = None,
    on_fatal: Optional[OnFatal] = None,
    metrics: Optional[Metrics] = None,
) -> AsyncIterator[Parts]:
    """Build every part and tie them together; close them in the opposite order."""
    check_settings(settings)
    with open_logs() as pipeline:
        _keep_secret(settings, pipeline.secrets)
        async with _parts(settings, pipeline, local_agents, on_fatal, metrics) as parts:
            yield parts


@asynccontextmanager
async def _parts(
    settings: Settings,
    pipeline: Pipeline,
    local_agents: Optional[LocalAgents],
    on_fatal: Optional[OnFatal],
    metrics: Optional[Metrics],
) -> AsyncIterator[Parts]:
    from_files = await _flow_files(settings)
    clock = SystemClock()
    metrics = metrics or Metrics(__version__, clock)
    async with (
        open_store(
            settings.database_path,
            now=clock.now(),
            timeout=settings.database_timeout,
            on_fatal=on_fatal or _report,
            observer=metrics.store,
            search_limit=settings.search_timeout,
        ) as store,
        open_keeper(store, pipeline, clock, _keeping(settings)) as keeper,
        open_traces(__version__, store.agent_now, pipeline.secrets) as spans,
        open_protocols(
            settings.agent_networks,
            settings.max_answer_bytes,
            local_agents,
            agentkit=(settings.agentkit_api_url, settings.agentkit_api_key),
            probe_timeout=settings.probe_timeout,
            discretion=Discretion(pipeline.secrets.add_address, pipeline.secrets.mask_known),
        ) as protocols,
        open_engine(
            store,
            protocols,
            clock,
            _limits(settings),
            _directory(settings, protocols),
            _observers(metrics, spans),
            spans,
        ) as engine,
        metrics.watching(_sources(store, engine, lambda: {**pipeline.lost, "store": keeper.lost})),
    ):
        keys = Keys(store, clock, first_key=settings.api_key, required=settings.api_key_required)
        if not settings.is_loopback and not await keys.required() and settings.api_key_required is None:
            raise Invalid(
                f"Listening on {settings.host} needs an API key: set OPSCORE_API_KEY, or create one with "
                "`opscore keys create`, or allow everybody with OPSCORE_API_KEY_REQUIRED=false."
            )
        flows = Flows(store, clock)
        mask = pipeline.secrets.mask_known
        agents = Agents(store, engine, protocols, clock, mask)
        executions = Executions(store, engine, flows, clock, settings.execution_timeout)
        if settings.flows_dir:
            loaded = await definitions.store(flows, from_files)
            log.info("flows.loaded", extra={"directory": settings.flows_dir, **attrs.asdict(loaded)})
        yield Parts(
            Operations(
                agents=agents,
                events=Events(store, engine),
                webhook=Webhook(agents, clock, settings.webhook_secret),
                sessions=Sessions(store, engine, flows, executions, mask),
                executions=executions,
                flows=flows,
                insight=Insight(store, engine, protocols, clock, _capacity(settings)),
                keys=keys,
                logs=Logs(store, keeper),
                overview=Overview(store, engine, clock),
            ),
            engine,
            spans,
        )


def _limits(settings: Settings) -> Limits:
    return Limits(
        calls=settings.max_calls,
        open_runs=settings.max_open_runs,
        queued=settings.max_queued,
        node_timeout=settings.node_timeout,
        drain_timeout=settings.drain_timeout,
        retention=settings.retention,
        prune_interval=settings.prune_interval,
        fleet=FleetLimits(
            calls_per_agent=settings.max_calls_per_agent,
            breaker_failures=settings.breaker_failures,
            breaker_pause=settings.breaker_pause,
            offline_after=settings.offline_after,
        ),
        probing=Probing(
            interval=settings.probe_interval,
            jitter=settings.probe_jitter,
            concurrency=settings.probe_concurrency,
        ),
        report_retention=settings.report_retention,
        directory_interval=settings.agentkit_interval,
    )


def _capacity(settings: Settings) -> Capacity:
    return Capacity(
        calls=settings.max_calls,
        calls_per_agent=settings.max_calls_per_agent,
        open_runs=settings.max_open_runs,
        queued=settings.max_queued,
        node_timeout=settings.node_timeout,
    )


def _observers(metrics: Metrics, spans: Optional[Observer]) -> Sequence[Observer]:
    """Whoever is told what the engine does."""
    observers: list[Observer] = [LogObserver(), metrics.engine]
    return observers if spans is None else [*observers, spans]


def _keeping(settings: Settings) -> Keeping:
    return Keeping(most=settings.log_keep, retention=settings.log_retention, prune_interval=settings.prune_interval)


def _keep_secret(settings: Settings, secrets: Secrets) -> None:
    """Nothing that the settings hold in confidence is to be logged, whatever it is met in."""
    secrets.add(*[one for one in (settings.api_key, settings.webhook_secret, settings.agentkit_api_key) if one])
    for address in (settings.agentkit_api_url, settings.database):
        if address is not None:
            secrets.add_address(address)


def _sources(store: SqlStore, engine: Engine, dropped_lines: Callable[[], Mapping[str, int]]) -> Sources:
    """What a scrape of the metrics looks at."""
    return Sources(
        survey=engine.survey,
        totals=store.totals,
        figures=lambda: store.figures,
        sizes=store.sizes,
        is_agent=lambda agent_id: store.agent_now(agent_id) is not None,
        dropped_lines=dropped_lines,
    )


def _directory(settings: Settings, protocols: Mapping[str, AgentProtocol]) -> Optional[Directory]:
    """AgentKit's list of agents, where there is an AgentKit."""
    found = protocols[AgentKit.name]
    return found if settings.agentkit_api_url is not None and isinstance(found, AgentKit) else None


async def _flow_files(settings: Settings) -> Sequence[Checked]:
    """The definitions of ``flows_dir``, checked before anything else is opened or begins to run."""
    if not settings.flows_dir:
        return ()
    try:
        return await definitions.check(settings.flows_dir, read_folder)
    except Invalid as error:
        lines = error.message.splitlines()
        raise InvalidFiles("\n".join(f"OPSCORE_FLOWS_DIR: {line}" for line in lines)) from None


@asynccontextmanager
async def running(settings: Settings, local_agents: Optional[LocalAgents] = None) -> AsyncIterator[Operations]:
    """Ops-Core at work without a web server: its operations, until the end of the block.

    Args:
        settings: See :mod:`opscore.settings`.
        local_agents: Functions in this process that flows may call, by agent id (protocol ``local``).

    Raises:
        StoreError: The database cannot be opened, is in use, or is not for this program.
        Invalid: A setting is wrong.
    """
    async with running_parts(settings, local_agents) as parts:
        yield parts.operations


def create_app(
    settings: Settings, local_agents: Optional[LocalAgents] = None, on_fatal: Optional[OnFatal] = None
) -> web.Application:
    """The server as an aiohttp application; everything opens with it and closes with it.

    Args:
        settings: See :mod:`opscore.settings`; ``host`` and ``port`` only tell what it will be bound to.
        local_agents: Functions in this process that flows may call, by agent id (protocol ``local``).
        on_fatal: Called with the reason when the store has died and the process should end.
    """
    engines: list[Engine] = []
    metrics = Metrics(__version__, SystemClock())

    @asynccontextmanager
    async def opened() -> AsyncIterator[Operations]:
        async with running_parts(settings, local_agents, on_fatal, metrics) as parts:
            engines.append(parts.engine)
            app[TRACER] = parts.tracer
            yield parts.operations

    async def refuse(_: web.Application) -> None:
        for engine in engines:
            engine.refuse()

    secrets = Secrets()
    _keep_secret(settings, secrets)
    app = make_app(_web_config(settings, secrets), opened, metrics)
    app.on_shutdown.append(refuse)
    app[ENGINES] = engines
    return app


ENGINES: web.AppKey[list[Engine]] = web.AppKey("engines", list)
"""The engine of a started application, for whoever stops it."""


def _web_config(settings: Settings, secrets: Secrets) -> WebConfig:
    return WebConfig(
        version=__version__,
        is_loopback=settings.is_loopback,
        allowed_hosts=settings.allowed_hosts,
        max_request_bytes=settings.max_request_bytes,
        body_timeout=settings.body_timeout,
        rate_limit=settings.rate_limit,
        max_streams=settings.max_streams,
        discretion=secrets.mask_known,
    )


def _report(reason: str) -> None:
    log.critical("store.failed", extra={"reason": reason})


async def migrate(settings: Settings) -> list[str]:
    """Bring the database up to date; the names of the migrations applied.

    Raises:
        StoreError: The database cannot be opened, is in use, or is not for this program.
    """
    if settings.database_path == ":memory:":
        raise Invalid("A database in memory needs no migration.")
    return await migrate_database(settings.database_path, now=SystemClock().now(), timeout=settings.database_timeout)


__all__ = ["ENGINES", "SERVER_OPTIONS", "StoreError", "create_app", "migrate", "running"]
