from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import Agent, Server, opscore

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "credit_analysis"


async def test_the_demo_scores_an_application(tmp_path: Path) -> None:
    """The demo ends by itself with a completed execution and a computed score."""
    code, out, _ = await opscore("demo", "--json", directory=tmp_path)
    result = json.loads(out)
    assert (code, result["status"]) == (0, "completed")
    assert result["output_data"]["result"]["score"] == 696
    code, out, _ = await opscore("demo", directory=tmp_path)
    assert code == 0
    assert "execution completed" in out


async def test_run_prints_the_result_as_json_when_piped(tmp_path: Path) -> None:
    """`opscore run` runs a flow once with the agents given, and a failed one exits 1."""
    agent = Agent()
    await agent.start()
    flow = tmp_path / "flow.yaml"
    flow.write_text("flow_id: one\nnodes: [{id: a, agent_id: stub, retry: {max_attempts: 1}}]\n")
    code, out, err = await opscore(
        "run", str(flow), "--input", '{"n": 4}', "--agent", f"stub={agent.url}", directory=tmp_path
    )
    assert (code, json.loads(out)["output_data"]) == (0, {"a": {"a": 1, "n": 5}})
    assert "a (stub) completed" in err
    code, out, err = await opscore("run", str(flow), "--agent", "stub=http://127.0.0.1:9", directory=tmp_path)
    assert (code, json.loads(out)["status"]) == (1, "failed")
    assert "Error: AGENT_UNREACHABLE" in err
    await agent.stop()


async def test_keys_are_made_in_a_file_and_over_http(tmp_path: Path) -> None:
    """A key made in the file opens the server; over HTTP more are made, listed and revoked."""
    server = Server(tmp_path)
    database = str(server.database)
    code, key, _ = await opscore(
        "keys", "--database", database, "create", "ops", "--scope", "admin", directory=tmp_path
    )
    assert code == 0
    await server.start()
    code, _, err = await opscore("keys", "--database", database, "list", directory=tmp_path)
    assert code == 3
    assert "in use by process" in err
    assert "Hint:" in err
    remote = {"OPSCORE_API_URL": server.url, "OPSCORE_API_KEY": key.strip()}
    code, out, _ = await opscore("keys", "create", "second", "--json", directory=tmp_path, **remote)
    made = json.loads(out)
    code, out, _ = await opscore("keys", "revoke", made["key_id"], directory=tmp_path, **remote)
    assert (code, out) == (0, f"Key {made['key_id']} is revoked.\n")
    code, out, _ = await opscore("keys", "list", directory=tmp_path, **remote)
    assert (code, len(out.splitlines())) == (0, 2)
    assert key.strip() not in out
    code, _, err = await opscore("keys", "list", directory=tmp_path, OPSCORE_API_URL=server.url)
    assert code == 1
    await server.kill()
    code, _, err = await opscore("keys", "list", directory=tmp_path, **remote)
    assert code == 3


BAD = [
    (["flows", "validate", "missing.yaml"], 2, "cannot be read"),
    (["flows", "validate", "cycle.json"], 1, "waits for itself"),
    (["flows", "validate", "alias.yaml"], 1, "alias.yaml:1: "),
    (["flows", "load", "missing"], 2, "missing cannot be read"),
    (["flows", "load", "."], 1, "./cycle.json:1: "),
    (["flows", "load", "empty", "--url", "here"], 1, "not the address of a server"),
    (["run", "cycle.json"], 1, "waits for itself"),
    (["run", str(EXAMPLE / "flow.yaml")], 2, "--agent eddie=URL"),
    (["run", str(EXAMPLE / "flow.yaml"), "--agent", "zoe"], 2, "ID=URL"),
    (["run", str(EXAMPLE / "flow.yaml"), "--input", "{"], 2, "--input"),
    (["run", str(EXAMPLE / "flow.yaml"), "--input", "[]"], 2, "--input"),
    (["run", str(EXAMPLE / "flow.yaml"), "--input", "@missing"], 2, "cannot be read"),
    (["serve", "--port", "x"], 2, "--port"),
    (["serve", "--port", "70000"], 2, "OPSCORE_PORT"),
    (["serve", "--host", "0.0.0.0", "--port", "0"], 2, "needs an API key"),
    (["serve", "--host", "256.1.1.1", "--port", "0"], 2, "API key"),
    (["serve", "--port", "0", "--database", "sqlite:////no/where/x.db"], 3, "cannot be opened"),
    (["serve", "--port", "0", "--database", "mysql://x"], 2, "OPSCORE_DATABASE"),
    (["migrate", "--database", "sqlite:///:memory:"], 2, "memory"),
    (["migrate", "--database", "text.db"], 3, "cannot be used"),
    (["keys", "--database", "k.db", "revoke", "unknown"], 1, "no key"),
    (["keys", "--database", "k.db", "create", " "], 2, "name"),
    (["nonsense"], 2, "No such command"),
]


@pytest.mark.parametrize(("arguments", "code", "text"), BAD, ids=lambda value: str(value)[-40:])
async def test_errors_are_one_line_with_a_documented_code(
    arguments: list[str], code: int, text: str, tmp_path: Path
) -> None:
    """Every mistake ends with its exit code and a sentence, never a traceback."""
    (tmp_path / "cycle.json").write_text(
        '{"flow_id": "c", "nodes": [{"id": "a", "agent_id": "x", "depends_on": ["a"]}]}'
    )
    (tmp_path / "alias.yaml").write_text("a: &x 1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.db").write_text("this is no database, but it is long enough to be read " * 30)
    got, _, err = await opscore(*arguments, directory=tmp_path)
    assert (got, text in err) == (code, True), err


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OPSCORE_PORT", "x"),
        ("OPSCORE_LOG_LEVEL", "LOUD"),
        ("OPSCORE_API_KEY_REQUIRED", "perhaps"),
        ("OPSCORE_MAX_CALLS", "0"),
        ("OPSCORE_NODE_TIMEOUT", "-1"),
        ("OPSCORE_AGENT_NETWORKS", "10.0.0.0/99"),
        ("OPSCORE_API_KEY", "short"),
        ("AGENTKIT_API_URL", "agentkit:3000"),
        ("AGENTKIT_API_URL", "http://agentkit:99999"),
        ("AGENTKIT_API_URL", "http://[::1"),
        ("AGENTKIT_API_KEY", "two words"),
    ],
)
async def test_a_wrong_setting_is_named(variable: str, value: str, tmp_path: Path) -> None:
    """A wrong value ends the start with one line that names its variable."""
    code, _, err = await opscore("serve", directory=tmp_path, **{variable: value})
    assert code == 2
    assert err.startswith(f"Error: {variable} ")
    assert len(err.splitlines()) == 1


async def test_help_fits_a_terminal(tmp_path: Path) -> None:
    """Every command has help that fits 100 columns and ends well."""
    for command in [
        "",
        "serve",
        "run",
        "demo",
        "keys",
        "keys create",
        "flows load",
        "executions cancel",
        "logs",
        "top",
    ]:
        code, out, _ = await opscore(*command.split(), "--help", directory=tmp_path)
        assert code == 0
        assert max(map(len, out.splitlines())) <= 100
        assert "..." not in out.replace("[ARGS]...", "").replace("[ID]...", "")  # no sentence is cut off
