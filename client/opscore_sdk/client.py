"""Both clients under the name that the first Ops-Core SDK had for their module."""

from opscore_sdk.aio import OpsCoreClientAsync
from opscore_sdk.sync import OpsCoreClientSync

__all__ = ["OpsCoreClientAsync", "OpsCoreClientSync"]
