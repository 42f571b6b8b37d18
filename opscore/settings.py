"""Every setting: its variable, default and unit. Read once, at the start.

A wrong value ends the start with one line that names the variable.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Callable, Mapping, Optional

import attrs
import yarl
from environs import Env, EnvError

from opscore.domain.errors import Invalid

LOOPBACK = ("127.0.0.1", "localhost", "::1")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

_MAY_BE_0 = ("log_keep",)


def _setting(variable: str, default: Any, meaning: str, *, parse: str = "str") -> Any:
    metadata = {"variable": variable, "meaning": meaning, "parse": parse}
    return attrs.field(default=default, metadata=metadata)


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of one server. Times are seconds, sizes bytes."""

    host: str = _setting("OPSCORE_HOST", "127.0.0.1", "address to listen on")
    port: int = _setting("OPSCORE_PORT", 8000, "port to listen on; 0 takes a free one", parse="int")
    database: str = _setting(
        "OPSCORE_DATABASE", "sqlite:///opscore.db", "where everything is kept; sqlite:///:memory: keeps nothing"
    )
    api_key: Optional[str] = _setting("OPSCORE_API_KEY", None, "the first admin key")
    api_key_required: Optional[bool] = _setting(
        "OPSCORE_API_KEY_REQUIRED", None, "false: no key is needed; true: always", parse="bool"
    )
    webhook_secret: Optional[str] = _setting(
        "OPSCORE_WEBHOOK_SECRET", None, "secret that signs AgentKit's notifications"
    )
    agentkit_api_url: Optional[str] = _setting("AGENTKIT_API_URL", None, "where AgentKit is")
    agentkit_api_key: Optional[str] = _setting("AGENTKIT_API_KEY", None, "key for AgentKit")
    log_level: str = _setting("OPSCORE_LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR")
    log_format: str = _setting("OPSCORE_LOG_FORMAT", "console", "json or console")
    log_levels: tuple[str, ...] = _setting(
        "OPSCORE_LOG_LEVELS",
        (),
        "other levels for some loggers (comma-separated), such as opscore.calls=DEBUG",
        parse="list",
    )
    log_keep: int = _setting(
        "OPSCORE_LOG_KEEP", 200_000, "log entries kept in the store for GET /logs; 0: none", parse="int"
    )
    log_retention: float = _setting(
        "OPSCORE_LOG_RETENTION",
        3 * 86_400.0,
        "seconds that they are kept; 0: as long as there is room",
        parse="float",
    )
    flows_dir: Optional[str] = _setting(
        "OPSCORE_FLOWS_DIR", None, "directory of YAML and JSON flow definitions, loaded at start"
    )
    agent_networks: tuple[str, ...] = _setting(
        "OPSCORE_AGENT_NETWORKS",
        (),
        "networks (CIDR, comma-separated) that agents may live in; empty: any but link-local and metadata networks",
        parse="list",
    )
    allowed_hosts: tuple[str, ...] = _setting(
        "OPSCORE_ALLOWED_HOSTS",
        (),
        "names this server answers to (comma-separated, * for any); empty: loopback names on loopback, else any",
        parse="list",
    )
    max_request_bytes: int = _setting("OPSCORE_MAX_REQUEST_BYTES", 1024 * 1024, "largest request body", parse="int")
    max_answer_bytes: int = _setting(
        "OPSCORE_MAX_ANSWER_BYTES", 8 * 1024 * 1024, "largest answer of an agent, decompressed", parse="int"
    )
    body_timeout: float = _setting(
        "OPSCORE_BODY_TIMEOUT", 30.0, "seconds a client may take to send a body", parse="float"
    )
    max_calls: int = _setting("OPSCORE_MAX_CALLS", 1000, "calls to agents open at once", parse="int")
    max_calls_per_agent: int = _setting(
        "OPSCORE_MAX_CALLS_PER_AGENT",
        256,
        "the same for one agent that names no max_concurrency of its own",
        parse="int",
    )
    max_open_runs: int = _setting(
        "OPSCORE_MAX_OPEN_RUNS", 10_000, "executions held in memory at once; more wait in the store", parse="int"
    )
    max_queued: int = _setting(
        "OPSCORE_MAX_QUEUED", 100_000, "executions that may wait; more are refused with 429", parse="int"
    )
    node_timeout: float = _setting(
        "OPSCORE_NODE_TIMEOUT", 300.0, "seconds for one attempt of a node that says nothing else", parse="float"
    )
    execution_timeout: float = _setting(
        "OPSCORE_EXECUTION_TIMEOUT", 86_400.0, "seconds for an execution that says nothing else", parse="float"
    )
    drain_timeout: float = _setting(
        "OPSCORE_DRAIN_TIMEOUT", 10.0, "seconds that open calls get at a stop", parse="float"
    )
    retention: float = _setting(
        "OPSCORE_RETENTION", 30 * 86_400.0, "seconds that ended executions are kept; 0: for ever", parse="float"
    )
    report_retention: float = _setting(
        "OPSCORE_REPORT_RETENTION",
        7 * 86_400.0,
        "seconds that agents' reports are kept, the newest of each always; 0: for ever",
        parse="float",
    )
    probe_interval: float = _setting(
        "OPSCORE_PROBE_INTERVAL", 30.0, "seconds between two looks at an agent's health; 0: never", parse="float"
    )
    probe_jitter: float = _setting(
        "OPSCORE_PROBE_JITTER", 0.1, "by which part of that interval it varies, 0 to 1", parse="float"
    )
    probe_timeout: float = _setting(
        "OPSCORE_PROBE_TIMEOUT", 5.0, "seconds an agent may take to tell its health", parse="float"
    )
    probe_concurrency: int = _setting("OPSCORE_PROBE_CONCURRENCY", 50, "agents asked at once", parse="int")
    offline_after: float = _setting(
        "OPSCORE_OFFLINE_AFTER", 300.0, "seconds of silence after which an agent is offline; 0: never", parse="float"
    )
    breaker_failures: int = _setting(
        "OPSCORE_BREAKER_FAILURES",
        10,
        "times in a row that an agent cannot be reached until it gets no work for a while",
        parse="int",
    )
    breaker_pause: float = _setting(
        "OPSCORE_BREAKER_PAUSE",
        10.0,
        "seconds until it is tried again; twice as long each time, 300 at most",
        parse="float",
    )
    agentkit_interval: float = _setting(
        "OPSCORE_AGENTKIT_INTERVAL",
        60.0,
        "seconds between two readings of AgentKit's list of agents; 0: never",
        parse="float",
    )
    prune_interval: float = _setting(
        "OPSCORE_PRUNE_INTERVAL", 3600.0, "seconds between two rounds of the pruner", parse="float"
    )
    max_streams: int = _setting(
        "OPSCORE_MAX_STREAMS", 1000, "event streams open at once; more are refused with 503", parse="int"
    )
    rate_limit: float = _setting(
        "OPSCORE_RATE_LIMIT", 0.0, "requests per second for each key or address; 0: no limit", parse="float"
    )
    database_timeout: float = _setting(
        "OPSCORE_DATABASE_TIMEOUT", 30.0, "seconds after which the database counts as dead", parse="float"
    )

    search_timeout: float = _setting(
        "OPSCORE_SEARCH_TIMEOUT", 10.0, "seconds after which a search of executions or logs is given up", parse="float"
    )

    @property
    def is_loopback(self) -> bool:
        """Whether the server is bound to this machine alone."""
        if self.host in LOOPBACK:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def database_path(self) -> str:
        """The path in a ``sqlite:///`` address; ``:memory:`` for a store that ends with the process."""
        return self.database[len("sqlite:///") :]


def load_settings(environ: Optional[Mapping[str, str]] = None, **overrides: Any) -> Settings:
    """Read the settings from the environment and a ``.env`` file; overrides win, None is no override.

    Args:
        environ: Read this instead of the process's environment (and no ``.env`` file).
        **overrides: Values by field name.

    Raises:
        Invalid: A value is wrong; the message is one line and names the variable.
    """
    env = Env()
    if environ is None:
        env.read_env(".env", recurse=False)
    values: dict[str, Any] = {}
    for field in attrs.fields(Settings):
        given = overrides.pop(field.name, None)
        values[field.name] = given if given is not None else _read(env, environ, field)
    if overrides:
        raise TypeError(f"no such settings: {', '.join(sorted(overrides))}")
    settings = Settings(**values)
    check_settings(settings)
    return settings


def _read(env: Env, environ: Optional[Mapping[str, str]], field: Any) -> Any:
    variable, parse = field.metadata["variable"], field.metadata["parse"]
    raw = env.str(variable, None) if environ is None else environ.get(variable)
    if raw is None or not raw.strip():
        return field.default
    try:
        return _PARSERS[parse](raw.strip())
    except (ValueError, EnvError):
        raise Invalid(f"{variable} must be {_WANTED[parse]}, not {raw[:60]!r}.") from None


def _bool(raw: str) -> bool:
    word = raw.lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError(raw)


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": _bool,
    "list": lambda raw: tuple(part.strip() for part in raw.split(",") if part.strip()),
}
_WANTED = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def check_settings(settings: Settings) -> None:
    """Refuse values that could not work.

    Raises:
        Invalid: One line that names the variable.
    """
    for field in attrs.fields(Settings):
        value = getattr(settings, field.name)
        variable = field.metadata["variable"]
        if isinstance(value, float) and not 0 <= value < float("inf"):
            raise Invalid(f"{variable} must not be negative.")
        if isinstance(value, int) and not isinstance(value, bool) and field.name != "port":
            least = 0 if field.name in _MAY_BE_0 else 1
            if value < least:
                raise Invalid(f"{variable} must be at least {least}.")
    for name in (
        "body_timeout",
        "node_timeout",
        "execution_timeout",
        "prune_interval",
        "database_timeout",
        "probe_timeout",
        "breaker_pause",
        "search_timeout",
    ):
        if not getattr(settings, name) > 0:
            raise Invalid(f"{_variable(name)} must be above 0.")
    _check_words(settings)
    if settings.probe_jitter > 1:
        raise Invalid("OPSCORE_PROBE_JITTER must be from 0 to 1.")
    _check_agentkit(settings)
    for network in settings.agent_networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise Invalid(
                f"OPSCORE_AGENT_NETWORKS has {network[:60]!r}, which is no network such as 10.0.0.0/8."
            ) from None


def _check_words(settings: Settings) -> None:
    if not 0 <= settings.port <= 65_535:
        raise Invalid("OPSCORE_PORT must be from 0 to 65535.")
    if not settings.database.startswith("sqlite:///") or not settings.database_path:
        raise Invalid("OPSCORE_DATABASE must look like sqlite:///path/to/opscore.db.")
    if settings.log_level.upper() not in LOG_LEVELS:
        raise Invalid("OPSCORE_LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR.")
    for given in settings.log_levels:
        name, _, level = given.partition("=")
        if not name.strip() or level.strip().upper() not in LOG_LEVELS:
            raise Invalid(f"OPSCORE_LOG_LEVELS has {given[:60]!r}, which is not like opscore.calls=DEBUG.")
    if settings.log_format not in ("json", "console"):
        raise Invalid("OPSCORE_LOG_FORMAT must be json or console.")
    if settings.api_key is not None and not re.fullmatch(r"[\x21-\x7e]{8,200}", settings.api_key):
        raise Invalid("OPSCORE_API_KEY must be 8 to 200 printable ASCII characters without spaces.")


def _check_agentkit(settings: Settings) -> None:
    url = settings.agentkit_api_url
    if url is not None and not _is_address(url):
        raise Invalid("AGENTKIT_API_URL must look like http://agentkit.example:3000 (with or without /v1).")
    for name in ("agentkit_api_key", "webhook_secret"):
        value = getattr(settings, name)
        if value is not None and not re.fullmatch(r"[\x21-\x7e]{1,500}", value):
            raise Invalid(f"{_variable(name)} must be printable ASCII characters without spaces, 500 at most.")


def _is_address(url: str) -> bool:
    try:
        return bool(re.fullmatch(r"https?://[^/?#@\s]+(/[^?#\s]*)?", url) and yarl.URL(url).host and yarl.URL(url).port)
    except ValueError:
        return False


def _variable(name: str) -> str:
    return str(getattr(attrs.fields(Settings), name).metadata["variable"])
