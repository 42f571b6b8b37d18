"""Methods about flows."""

from __future__ import annotations

from typing import Optional

from opscore_sdk import checks
from opscore_sdk._calls import Calls
from opscore_sdk.definitions import Definition, definition_body
from opscore_sdk.models import Flow, FlowList, FlowReport, FlowVersions
from opscore_sdk.wire import request

_NEWEST_VERSION = 2**31


class FlowMethods(Calls):
    """Store, find and check flows."""

    async def list_flows(self, *, timeout: Optional[float] = None) -> FlowList:
        """All flows in their newest version: ``flows`` and ``count``.

        Args:
            timeout: Seconds for this call instead of the client's.
        """
        return await self._listed(FlowList, "flows", request("GET", "flows"), timeout)

    async def get_flow(
        self,
        flow_id: str,
        version: Optional[int] = None,
        *,
        timeout: Optional[float] = None,
    ) -> Flow:
        """A flow's definition, by default the newest.

        Args:
            flow_id: Which flow.
            version: Which version.
            timeout: Seconds for this call instead of the client's.

        Raises:
            NotFoundError: There is no such flow or version.
        """
        query = {"version": checks.a_number(version, "version", 1, _NEWEST_VERSION)}
        return await self._model(Flow, request("GET", "flows", checks.an_id(flow_id, "flow_id"), query=query), timeout)

    async def list_flow_versions(
        self,
        flow_id: str,
        *,
        timeout: Optional[float] = None,
    ) -> FlowVersions:
        """All versions of a flow, newest first: ``versions`` and ``count``.

        Args:
            flow_id: Which flow.
            timeout: Seconds for this call instead of the client's.
        """
        asked = request("GET", "flows", checks.an_id(flow_id, "flow_id"), "versions")
        return await self._listed(FlowVersions, "versions", asked, timeout)

    async def create_flow(
        self,
        definition: Definition,
        *,
        timeout: Optional[float] = None,
    ) -> Flow:
        """Store a new flow. The same definition again changes nothing; another one under its id is a conflict.

        Args:
            definition: A dictionary, JSON or YAML text, or the path of a file.
            timeout: Seconds for this call instead of the client's.

        Raises:
            ValidationError: It cannot run; ``field_errors`` has texts by place.
            ConflictError: Its id is taken.
        """
        return await self._model(
            Flow, request("POST", "flows", idempotent=True, **definition_body(definition)), timeout
        )

    async def update_flow(
        self,
        flow_id: str,
        definition: Definition,
        *,
        timeout: Optional[float] = None,
    ) -> Flow:
        """Store the next version of a flow; executions that run keep theirs.

        Args:
            flow_id: Which flow.
            definition: A dictionary, JSON or YAML text, or the path of a file.
            timeout: Seconds for this call instead of the client's.
        """
        segments = ("flows", checks.an_id(flow_id, "flow_id"))
        return await self._model(Flow, request("PUT", *segments, **definition_body(definition)), timeout)

    async def validate_flow(
        self,
        definition: Definition,
        *,
        timeout: Optional[float] = None,
    ) -> FlowReport:
        """Check a definition without storing it: ``valid``, ``errors`` and ``warnings``.

        Args:
            definition: A dictionary, JSON or YAML text, or the path of a file.
            timeout: Seconds for this call instead of the client's.
        """
        asked = request("POST", "flows", "validate", idempotent=True, **definition_body(definition))
        return await self._model(FlowReport, asked, timeout)

    async def delete_flow(
        self,
        flow_id: str,
        *,
        timeout: Optional[float] = None,
    ) -> bool:
        """Take a flow out of use; its history stays readable.

        Args:
            flow_id: Which flow.
            timeout: Seconds for this call instead of the client's.

        Returns:
            Whether there was such a flow.
        """
        return await self._gone(request("DELETE", "flows", checks.an_id(flow_id, "flow_id")), timeout)
