"""Ops-Core: the operational backbone for AI agents."""

from opscore.version import __version__

__all__ = ["__version__"]
