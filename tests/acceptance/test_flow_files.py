from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from processes import Client, Server, opscore

FILES = {
    "shout.yaml": "# Loud.\nflow_id: shout\nnodes:\n  - id: a\n    agent_id: stub\n",
    "deep/er/sum.json": '{\n\t"flow_id": "sum",\n\t"nodes": [{"id": "a", "agent_id": "stub"}]\n}\n',
    "onboard.json": '{"id": "onboard", "name": "Onboard",\n "tasks": [{"taskId": "t", "agentId": "stub"}]}\n',
    "offboard.yml": "id: offboard\nname: Offboard\ntasks:\n  - taskId: t\n    agentId: stub\n",
}
ALL = ["offboard", "onboard", "shout", "sum"]


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    """A directory with both formats and both syntaxes."""
    directory = tmp_path / "flows"
    for name, text in FILES.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


async def listed(server: Server) -> dict[str, Any]:
    """The flows of a server and their versions."""
    async with Client(server.url) as client:
        _, answer = await client.call("GET", "/flows")
    return {flow["flow_id"]: flow["flow_version"] for flow in answer["flows"]}


async def test_a_server_has_the_flows_of_its_directory(tmp_path: Path, flows: Path) -> None:
    """All files are there after the start; after a restart a changed one has its next version, the others theirs."""
    server = Server(tmp_path, OPSCORE_FLOWS_DIR="flows")
    await server.start()
    assert await listed(server) == dict.fromkeys(ALL, 1)
    await server.kill()
    (flows / "shout.yaml").write_text(FILES["shout.yaml"] + "name: Louder\n")
    (flows / "deep" / "er" / "sum.json").unlink()
    await server.start()
    assert await listed(server) == {**dict.fromkeys(ALL, 1), "shout": 2}
    await server.kill()
    await server.start()
    assert await listed(server) == {**dict.fromkeys(ALL, 1), "shout": 2}
    await server.kill()


async def test_a_bad_file_ends_the_start_with_its_line(tmp_path: Path, flows: Path) -> None:
    """Every mistake is a line with the setting, the file and the line; the exit code is that of a wrong setting."""
    (flows / "bad.yaml").write_text("flow_id: bad\nnodes:\n  - id: a\n    agent_id: x\n    depends_on: [b]\n")
    (flows / "worse.json").write_text('{\n"flow_id": "worse"\n"nodes": []}')
    code, _, err = await opscore("serve", "--port", "0", directory=tmp_path, OPSCORE_FLOWS_DIR="flows")
    assert code == 2
    bad, worse = err.splitlines()
    assert bad == 'Error: OPSCORE_FLOWS_DIR: flows/bad.yaml:5: Node "a" depends on the unknown node "b".'
    assert worse.startswith("Error: OPSCORE_FLOWS_DIR: flows/worse.json:3: ")
    assert not (tmp_path / "opscore.db").exists()


async def test_a_directory_is_loaded_into_a_running_server(tmp_path: Path, flows: Path) -> None:
    """`opscore flows load` creates flows, makes next versions and leaves alone what has not changed."""
    server = Server(tmp_path, OPSCORE_API_KEY="a-key-for-this-test")
    await server.start()
    remote = {"OPSCORE_API_URL": server.url, "OPSCORE_API_KEY": "a-key-for-this-test"}
    code, out, err = await opscore("flows", "load", "flows", directory=tmp_path, **remote)
    assert (code, sorted(out.splitlines()), err) == (0, [f"{flow}: created" for flow in ALL], "")
    (flows / "shout.yaml").write_text(FILES["shout.yaml"] + "name: Louder\n")
    code, out, _ = await opscore("flows", "load", "flows", "--json", directory=tmp_path, **remote)
    results = {one["flow_id"]: (one["result"], one["flow_version"]) for one in json.loads(out)["flows"]}
    assert (code, results) == (0, {**dict.fromkeys(ALL, ("unchanged", 1)), "shout": ("changed", 2)})
    (flows / "shout.yaml").write_text(FILES["shout.yaml"] + "name: Loudest\n")
    code, out, _ = await opscore("flows", "load", "flows", directory=tmp_path, **remote)
    assert "shout: new version 3" in out.splitlines()
    code, _, err = await opscore("flows", "load", "flows", directory=tmp_path, OPSCORE_API_URL=server.url)
    assert (code, "UNAUTHENTICATED" in err, "Hint:" in err) == (1, True, True)
    await server.kill()
    code, _, err = await opscore("flows", "load", "flows", directory=tmp_path, **remote)
    assert (code, "Is the server running?" in err) == (3, True)


async def test_nothing_is_sent_when_a_file_is_bad(tmp_path: Path, flows: Path) -> None:
    """With one bad file no flow reaches the server, and each mistake is a line on standard error."""
    server = Server(tmp_path)
    await server.start()
    (flows / "bad.yaml").write_text("flow_id: shout\nnodes: []\n")
    (flows / "twice.yaml").write_text(FILES["shout.yaml"])
    remote = {"OPSCORE_API_URL": server.url}
    code, out, err = await opscore("flows", "load", "flows/", directory=tmp_path, **remote)
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "flows/bad.yaml:2: nodes must be a list with at least one node.",
        'flows/twice.yaml:2: The flow id "shout" is taken by flows/shout.yaml already.',
    ]
    code, out, _ = await opscore("flows", "load", "flows", "--json", directory=tmp_path, **remote)
    places = [(one["file"], one["line"], one["place"]) for one in json.loads(out)["errors"]]
    assert (code, places) == (1, [("flows/bad.yaml", 2, "nodes"), ("flows/twice.yaml", 2, "flow_id")])
    assert await listed(server) == {}
    await server.kill()


async def test_what_the_server_refuses_does_not_keep_the_others_back(tmp_path: Path, flows: Path) -> None:
    """A definition that only this server refuses is told with its file; the others are stored."""
    server = Server(tmp_path, OPSCORE_MAX_REQUEST_BYTES="600")
    await server.start()
    (flows / "long.yaml").write_text(
        f"# Long.\n{FILES['shout.yaml'].replace('shout', 'long')}description: {'x' * 600}\n"
    )
    code, out, err = await opscore("flows", "load", "flows", directory=tmp_path, OPSCORE_API_URL=server.url)
    assert (code, sorted(out.splitlines())) == (1, [f"{flow}: created" for flow in ALL])
    assert err.startswith("flows/long.yaml:3: ")
    assert "413" in err
    await server.kill()


async def test_validate_names_the_line_and_takes_workflows(tmp_path: Path, flows: Path) -> None:
    """`opscore flows validate` reads flows and workflows, and tells each mistake with its line."""
    for name in FILES:
        code, out, _ = await opscore("flows", "validate", str(flows / name), directory=tmp_path)
        assert (code, "valid; flow" in out) == (0, True)
    (flows / "bad.yaml").write_text("flow_id: bad\nnodes:\n  - id: a\n    agent_id: x\n    depend_on: [b]\n")
    code, out, err = await opscore("flows", "validate", "flows/bad.yaml", directory=tmp_path)
    assert (code, out) == (1, "")
    assert err.startswith("flows/bad.yaml:5: error: ")
    code, out, _ = await opscore("flows", "validate", "flows/bad.yaml", "--json", directory=tmp_path)
    (error,) = json.loads(out)["errors"]
    assert (code, error["line"], error["place"]) == (1, 5, "nodes[0].depend_on")


async def test_commands_with_a_server_of_their_own_leave_the_directory_alone(tmp_path: Path, flows: Path) -> None:
    """`opscore keys` and `opscore run` do not load the directory, so a bad file in it does not stop them."""
    (flows / "bad.yaml").write_text("flow_id: bad\n")
    (tmp_path / "own.json").write_text('{"flow_id": "shout", "nodes": [{"id": "a", "type": "input"}]}')
    setting = {"OPSCORE_FLOWS_DIR": "flows"}
    code, _, err = await opscore("keys", "create", "ops", directory=tmp_path, **setting)
    assert code == 0, err
    code, out, err = await opscore("run", "own.json", "--input", '{"n": 1}', directory=tmp_path, **setting)
    assert (code, json.loads(out)["status"]) == (0, "completed"), err
