"""The smallest agent with the SDK; it registers itself at OPSCORE_API_URL (http://127.0.0.1:8000)."""

from opscore_sdk import Agent

agent = Agent("greeter", capabilities=["greeting"])


@agent
async def greet(given: dict) -> dict:
    """Greet whom the input names."""
    return {"greeting": f"Hello {given['name']}"}


if __name__ == "__main__":
    agent.run(port=9001)
