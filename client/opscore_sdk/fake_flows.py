"""Flows and executions of the fake server of :mod:`opscore_sdk.testing`, over HTTP."""

from __future__ import annotations

from typing import List, Optional

import orjson
from aiohttp import web

from opscore_sdk.fake_http import Problem, Route, invalid, json_body, number, reply
from opscore_sdk.fake_runs import FakeExecution, Json
from opscore_sdk.fake_store import FakeStore, KeyReused

_COMMENT_EVERY = 15.0
_LONGEST_WAIT = 60.0
_DEFAULT_LIMIT = 50


class FlowRoutes:
    """Flows and their executions."""

    def __init__(self, store: FakeStore) -> None:
        self._store = store

    def table(self) -> List[Route]:
        """All routes."""
        return [
            ("POST", "/flows/execute", self.execute),
            ("POST", "/flows/validate", self.validate),
            ("GET", "/flows", self.list_flows),
            ("POST", "/flows", self.create_flow),
            ("GET", "/flows/{flow_id}", self.get_flow),
            ("PUT", "/flows/{flow_id}", self.replace_flow),
            ("DELETE", "/flows/{flow_id}", self.delete_flow),
            ("GET", "/flows/{flow_id}/versions", self.versions),
            ("GET", "/executions", self.list_executions),
            ("POST", "/executions/cancel", self.cancel_many),
            ("GET", "/executions/{execution_id}", self.get_execution),
            ("GET", "/executions/{execution_id}/results", self.results),
            ("GET", "/executions/{execution_id}/messages", self.messages),
            ("GET", "/executions/{execution_id}/events", self.events),
            ("GET", "/executions/{execution_id}/stream", self.events),
            ("POST", "/executions/{execution_id}/cancel", self.cancel),
        ]

    # -- flows -----------------------------------------------------------------------------------

    async def list_flows(self, _: web.Request) -> web.Response:
        """The newest version of each."""
        flows = [versions[-1] for _, versions in sorted(self._store.flows.items())]
        return reply({"flows": flows, "count": len(flows)})

    async def create_flow(self, request: web.Request) -> web.Response:
        """201, 200 for the same again, 409 for another content."""
        definition = await definition_of(request)
        versions = self._store.flows.get(definition["flow_id"])
        if versions is None:
            return reply(self._store.put_flow(definition), 201)
        if any(versions[-1].get(name) != value for name, value in definition.items()):
            raise Problem(409, f'The flow "{definition["flow_id"]}" exists with another content.')
        return reply(versions[-1])

    async def get_flow(self, request: web.Request) -> web.Response:
        """The newest version, or the one that is asked for."""
        versions = self._flow(request)
        version = int(number(request, "version", len(versions)))
        if not 1 <= version <= len(versions):
            raise Problem(404, f"The flow has no version {version}.", "FLOW_NOT_FOUND")
        return reply(versions[version - 1])

    async def replace_flow(self, request: web.Request) -> web.Response:
        """The next version."""
        self._flow(request)
        return reply(self._store.put_flow(await definition_of(request)))

    async def delete_flow(self, request: web.Request) -> web.Response:
        """Its executions stay."""
        self._flow(request)
        flow_id = request.match_info["flow_id"]
        del self._store.flows[flow_id]
        self._store.scripts.pop(flow_id, None)
        return reply({"message": f"The flow {flow_id} is deleted.", "status": "deleted"})

    async def versions(self, request: web.Request) -> web.Response:
        """Newest first."""
        versions = self._flow(request)[::-1]
        return reply({"flow_id": request.match_info["flow_id"], "versions": versions, "count": len(versions)})

    async def validate(self, request: web.Request) -> web.Response:
        """Only whether there is an id and nodes; the real server knows more."""
        try:
            await definition_of(request)
        except Problem as error:
            errors = [{"place": place, "message": text} for place, texts in error.details.items() for text in texts]
            return reply({"valid": False, "errors": errors, "warnings": []})
        return reply({"valid": True, "errors": [], "warnings": []})

    def _flow(self, request: web.Request) -> List[Json]:
        flow_id = request.match_info["flow_id"]
        if flow_id not in self._store.flows:
            raise _no_flow(flow_id)
        return self._store.flows[flow_id]

    # -- executions ------------------------------------------------------------------------------

    async def execute(self, request: web.Request) -> web.Response:
        """202, or with ``wait`` 200 when it has ended by then."""
        given = await json_body(request)
        flow_id, data = given.get("flow_id"), given.get("input_data", {})
        if not isinstance(flow_id, str):
            raise invalid("flow_id", "Missing data for required field.")
        if not isinstance(data, dict):
            raise invalid("input_data", "Not a valid mapping type.")
        accepted = started(self._store, request, flow_id, given)
        execution = self._store.executions[accepted["execution_id"]]
        wait = min(number(request, "wait", 0), _LONGEST_WAIT)
        if wait <= 0:
            return reply(_started(accepted), 202)
        await execution.ended(wait)
        return reply(_started(execution.record), 200 if execution.is_final else 202)

    async def list_executions(self, request: web.Request) -> web.Response:
        """Newest first, a page at a time."""
        wanted = {name: request.query[name] for name in ("flow_id", "status", "agent_id") if name in request.query}
        labels = {k[len("metadata.") :]: v for k, v in request.query.items() if k.startswith("metadata.")}
        found = [
            one.record
            for one in reversed(list(self._store.executions.values()))
            if all(str(one.record[name]) == value for name, value in wanted.items())
            and _is_found(one.record, request.query.get("q", ""))
            and all(str(one.record["metadata"].get(name)) == value for name, value in labels.items())
        ]
        limit, offset = int(number(request, "limit", _DEFAULT_LIMIT)), int(number(request, "offset", 0))
        ids = [record["execution_id"] for record in found]
        cursor = request.query.get("cursor")
        begin = offset + (ids.index(cursor) + 1 if cursor in ids else 0)
        page = [{**record, "truncated": []} for record in found[begin : begin + limit]]
        more = page[-1]["execution_id"] if begin + limit < len(found) and page else None
        return reply({"executions": page, "count": len(page), "limit": limit, "offset": offset, "next_cursor": more})

    async def get_execution(self, request: web.Request) -> web.Response:
        """As it stands; with ``wait`` once it has ended, or after so many seconds."""
        execution = self._execution(request)
        await execution.ended(min(number(request, "wait", 0), _LONGEST_WAIT))
        return reply(execution.record)

    async def results(self, request: web.Request) -> web.Response:
        """One result for each object in the output."""
        execution = self._execution(request)
        steps = execution.node_results()
        more = {"execution": execution.record, "node_results": steps, "count": len(steps)}
        return reply({"execution_id": execution.execution_id, **more})

    async def messages(self, request: web.Request) -> web.Response:
        """Nothing travels here."""
        return reply({"messages": [], "count": 0, "execution_id": self._execution(request).execution_id})

    async def events(self, request: web.Request) -> web.StreamResponse:
        """A page, or a stream for those who accept one."""
        execution = self._execution(request)
        after = int(number(request, "after", 0))
        if "text/event-stream" in request.headers.get("Accept", ""):
            last = request.headers.get("Last-Event-ID", "")
            return await _stream(request, execution, int(last) if last.isdigit() else after)
        page = execution.events[after : after + int(number(request, "limit", _DEFAULT_LIMIT))]
        return reply({"events": page, "next_after": page[-1]["seq"] if page else after})

    async def cancel(self, request: web.Request) -> web.Response:
        """Again is no error; of what has ended otherwise it is."""
        execution = self._execution(request)
        self._cancel(execution.execution_id, (await json_body(request)).get("reason"))
        body = {"message": "The execution is cancelled.", "execution_id": execution.execution_id}
        return reply({**body, "status": "cancelled"})

    async def cancel_many(self, request: web.Request) -> web.Response:
        """Each for itself."""
        given = await json_body(request)
        ids = given.get("execution_ids")
        if not isinstance(ids, list) or not ids:
            raise invalid("execution_ids", "Missing data for required field.")
        cancelled: List[str] = []
        refused: List[Json] = []
        for execution_id in ids:
            try:
                self._cancel(str(execution_id), given.get("reason"))
            except Problem as error:
                refused.append({"execution_id": execution_id, "error_code": error.code, "message": error.detail})
            else:
                cancelled.append(execution_id)
        return reply({"cancelled": cancelled, "refused": refused})

    def _cancel(self, execution_id: str, reason: Optional[str]) -> None:
        execution = self._found(execution_id)
        if execution.record["status"] in ("completed", "failed"):
            raise Problem(409, f"The execution is {execution.record['status']} already.", "EXECUTION_FINISHED")
        execution.cancel(reason)

    def _execution(self, request: web.Request) -> FakeExecution:
        return self._found(request.match_info["execution_id"])

    def _found(self, execution_id: str) -> FakeExecution:
        if execution_id not in self._store.executions:
            raise Problem(404, f'There is no execution "{execution_id}".', "EXECUTION_NOT_FOUND")
        return self._store.executions[execution_id]


def started(store: FakeStore, request: web.Request, flow_id: str, given: Json, agent_id: Optional[str] = None) -> Json:
    """An execution that a request starts, or has started before."""
    if flow_id not in store.flows:
        raise _no_flow(flow_id)
    try:
        return store.start(flow_id, given, request.headers.get("Idempotency-Key"), agent_id)
    except KeyReused:
        raise Problem(409, "This idempotency key was used for another request.") from None


def _is_found(record: Json, text: str) -> bool:
    within = (record[name] or "" for name in ("flow_id", "error_code", "error_message", "user_id"))
    return record["execution_id"].startswith(text) or any(text in str(one) for one in within)


def _no_flow(flow_id: str) -> Problem:
    return Problem(404, f'There is no flow "{flow_id}".', "FLOW_NOT_FOUND")


async def definition_of(request: web.Request) -> Json:
    """The flow in a body; YAML only where PyYAML is installed."""
    given = await (_yaml(request) if "yaml" in request.content_type else json_body(request))
    if not isinstance(given.get("flow_id"), str):
        raise invalid("flow_id", "Missing data for required field.", "INVALID_FLOW")
    if not isinstance(given.get("nodes"), list):
        raise invalid("nodes", "Missing data for required field.", "INVALID_FLOW")
    return given


async def _yaml(request: web.Request) -> Json:
    try:
        import yaml
    except ImportError:
        raise Problem(415, "The fake server reads YAML only where PyYAML is installed.") from None
    try:
        given = yaml.safe_load(await request.text())
    except yaml.YAMLError:
        raise Problem(400, "The body is not YAML.", "INVALID_YAML") from None
    if not isinstance(given, dict):
        raise invalid("body", "Must be an object.")
    return given


def _started(record: Json) -> Json:
    """An execution as the answer to its start."""
    body = {name: record[name] for name in ("execution_id", "flow_id", "flow_version", "status", "created_at")}
    more = {"result": record["output_data"], "error": record["error_message"], "error_code": record["error_code"]}
    return {**body, **more, "execution_time": record["execution_time"], "trace_id": record["trace_id"]}


async def _stream(request: web.Request, execution: FakeExecution, after: int) -> web.StreamResponse:
    """Server-Sent Events above a number, and one that says that this was all."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    while True:
        for event in execution.events[after:]:
            text = f"id: {event['seq']}\nevent: {event['type']}\ndata: {orjson.dumps(event).decode()}\n\n"
            await response.write(text.encode())
            after = event["seq"]
        if execution.is_final:
            break
        if not await execution.journal.news(after, _COMMENT_EVERY):
            await response.write(b": still here\n\n")
    last = orjson.dumps({"execution_id": execution.execution_id, "status": execution.record["status"]})
    await response.write(b"event: end\ndata: " + last + b"\n\n")
    return response
