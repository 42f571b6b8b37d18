"""The smallest agent: a web server that upper-cases a text.

    python examples/simple_agent.py 9001
    curl -X POST localhost:9001/execute -d '{"execution_id": "1", "node_id": "shout", "input": {"text": "hello"}}'

Give it to Ops-Core with ``opscore run FLOW --agent shouter=http://127.0.0.1:9001`` or ``POST /agents``.
"""

from __future__ import annotations

import sys

from aiohttp import web


async def execute(request: web.Request) -> web.Response:
    """Do one step: ``{execution_id, node_id, input, config}`` in, ``{status, output}`` out."""
    task = await request.json()
    text = task["input"].get("text")
    if not isinstance(text, str):
        # retryable: false says that sending the same again is of no use.
        return web.json_response(
            {"status": "error", "error_code": "BAD_DATA", "error_message": "text is missing.", "retryable": False}
        )
    return web.json_response({"status": "success", "output": {"text": text.upper()}})


async def health(_: web.Request) -> web.Response:
    """Say that the agent is there."""
    return web.json_response({"status": "healthy"})


def make_app() -> web.Application:
    """The agent as an aiohttp application."""
    app = web.Application()
    app.add_routes([web.post("/execute", execute), web.get("/health", health)])
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 9001)
