"""How much at once, and for how long: the limits of a server, as those who explain it need them."""

from __future__ import annotations

import attrs

from opscore.domain.instants import Seconds


@attrs.frozen(kw_only=True)
class Capacity:
    """Limits of the settings. Times are seconds."""

    calls: int
    """Calls to agents open at once."""
    calls_per_agent: int
    """The same for one agent that names no limit of its own."""
    open_runs: int
    """Executions that run at once."""
    queued: int
    """Executions that may wait for their turn."""
    node_timeout: Seconds
    """For one attempt of a node that says nothing else."""
