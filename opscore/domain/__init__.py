"""The pure core: what Ops-Core decides, without clock, chance, asyncio or I/O."""
