"""Traces by OpenTelemetry: made and sent where the standard variables ask for it, and otherwise not even imported.

Spans leave in batches, from a thread of the SDK's; a full queue drops them, and nobody waits for a collector.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, AsyncIterator, Mapping, Optional
from urllib.parse import unquote

from opscore.domain.errors import Invalid
from opscore.domain.instants import Seconds
from opscore.telemetry.secrets import Secrets

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

    from opscore.telemetry.spans import Names, Spans

log = logging.getLogger(__name__)

EXTRA = "opscore[otel]"
FLUSH_LIMIT: Seconds = 0.5
"""How long a stop may wait for the last batch."""
_DEFAULT_DELAY_MS = 5_000
_NOISE_PAUSE: Seconds = 60.0
_NOISY = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.trace.export",
)


def wanted(environ: Mapping[str, str]) -> Optional[str]:
    """The exporter that the standard variables ask for: ``otlp`` or ``console``; None when they ask for none.

    Raises:
        Invalid: They ask for one that there is not.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    word = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if not word:
        endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        return "otlp" if any(environ.get(name, "").strip() for name in endpoints) else None
    if word not in ("otlp", "console", "none"):
        raise Invalid(f"OTEL_TRACES_EXPORTER must be otlp, console or none, not {word[:60]!r}.")
    return None if word == "none" else word


@asynccontextmanager
async def open_traces(version: str, agents: Names, secrets: Secrets) -> AsyncIterator[Optional[Spans]]:
    """Traces, where the environment asks for them and the extra is installed; None otherwise.

    At the end what is left is sent, for as long as half a second.

    Raises:
        Invalid: A variable has a value that cannot work; the message names it.
    """
    word = wanted(os.environ)
    made = None if word is None else _made(word, version, agents, secrets)
    if made is None:
        yield None
        return
    provider, spans = made
    seldom = _Seldom()
    for name in _NOISY:
        logging.getLogger(name).addFilter(seldom)
    try:
        yield spans
    finally:
        await _close(provider)
        for name in _NOISY:
            logging.getLogger(name).removeFilter(seldom)


def _made(word: str, version: str, agents: Names, secrets: Secrets) -> Optional[tuple[TracerProvider, Spans]]:
    """What makes spans and sends them; None, with a word about it, where the extra is not installed."""
    try:
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        from opscore.telemetry.spans import Ids, Spans

        _keep_secret(os.environ, secrets)
        exporter = _exporter(word)
    except ImportError as error:
        reason = f"Traces are asked for, but what makes them is not installed: pip install '{EXTRA}'."
        log.warning("traces.not_installed", extra={"reason": reason, "missing": error.name})
        return None
    # What the variables say wins over what we would say.
    ours = Resource({"service.name": "opscore", "service.version": version})
    resource = Resource.create(ours.merge(OTELResourceDetector().detect()).attributes)
    ids = Ids()
    try:
        provider = TracerProvider(resource=resource, id_generator=ids, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter))
    except ValueError as error:
        raise Invalid(f"The variables OTEL_BSP_* do not fit together: {error}") from None
    delay = os.environ.get("OTEL_BSP_SCHEDULE_DELAY", "")
    seconds = (int(delay) if delay.isdecimal() else _DEFAULT_DELAY_MS) / 1000
    return provider, Spans(provider, ids, agents, seconds, secrets.mask)


def _keep_secret(environ: Mapping[str, str], secrets: Secrets) -> None:
    """What opens the collector's door is not to be logged, whatever a collector says that refuses it."""
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"):
        for header in environ.get(name, "").split(","):
            value = unquote(header.partition("=")[2]).strip()
            secrets.add(value, value.rpartition(" ")[2])
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        secrets.add_address(environ.get(name, ""))


def _exporter(word: str) -> SpanExporter:
    if word == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    names = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next((os.environ[name] for name in names if os.environ.get(name)), "http/protobuf").strip().lower()
    if protocol != "http/protobuf":
        raise Invalid(f"OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf, not {protocol[:60]!r}.")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


async def _close(provider: TracerProvider) -> None:
    """Send what is left; a collector that takes too long is not waited for."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def shut_down() -> None:
        provider.shutdown()
        with suppress(RuntimeError):  # the loop has gone: nobody has waited for so long
            loop.call_soon_threadsafe(over.set)

    # Not one of the loop's own threads: the process would wait for its end.
    threading.Thread(target=shut_down, name="opscore-traces-flush", daemon=True).start()
    try:
        await asyncio.wait_for(over.wait(), FLUSH_LIMIT)
    except asyncio.TimeoutError:
        log.warning("traces.not_flushed", extra={"reason": "The collector did not take the last spans in time."})


class _Seldom(logging.Filter):
    """Lets the same complaint through once in a while: a collector that is away is no news every second."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key, now = (record.name, str(record.msg)[:100]), time.monotonic()
        if now - self._last.get(key, -_NOISE_PAUSE) < _NOISE_PAUSE:
            return False
        self._last[key] = now
        return True
