"""Packaging of the client, the distribution ``opscore-sdk``."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
# Every wheel carries its description: the beginning of the page will do, the reference is in the repository.
QUICK_START = (HERE / "README.md").read_text(encoding="utf-8").partition("\nThe tests run every example")[0]
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "opscore_sdk" / "_version.py").read_text()).group(1)

setup(
    name="opscore-sdk",
    version=VERSION,
    description="Client for Ops-Core, the operational backbone for AI agents",
    long_description=QUICK_START,
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.9",
    packages=["opscore_sdk"],
    package_data={"opscore_sdk": ["py.typed"]},
    install_requires=["aiohttp>=3.13.5,<4", "orjson>=3.11"],
    zip_safe=False,
)
