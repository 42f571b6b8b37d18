"""A list of very many agents, with a real web server and store."""

from __future__ import annotations

import asyncio

from opscore.domain.agents import AgentSpec
from opscore.settings import Settings
from opscore.testing import open_client
from opscore.web.config import OPERATIONS


async def test_a_long_list_leaves_others_their_turn() -> None:
    """While a list of more than a thousand agents is made, what else is ready gets several turns of the loop."""
    async with open_client(Settings(database="sqlite:///:memory:", probe_interval=0.0)) as client:
        agents = client.app[OPERATIONS].agents  # type: ignore[union-attr]
        specs = [AgentSpec(f"a{number:04}", "a", protocol="agentkit") for number in range(1_100)]
        await asyncio.gather(*map(agents.register, specs))
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.ensure_future(count())
        listed = await agents.list()
        counting.cancel()
        assert len(listed) == 1_100
        assert turns >= 2
        async with client.get("/agents?state=unknown") as answer:
            assert (await answer.json())["count"] == 1_100
