"""Packaging of the server, the distribution ``opscore``."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "opscore" / "version.py").read_text()).group(1)
REQUIRES = [
    line.split("  #")[0].strip()
    for line in (HERE / "requirements.txt").read_text().splitlines()
    if line.strip() and not line.startswith(("#", "-"))
]
# Spans by OpenTelemetry, sent by OTLP over HTTP; 1.41 is the newest for Python 3.9.
OTEL = ["opentelemetry-sdk>=1.41,<2", "opentelemetry-exporter-otlp-proto-http>=1.33,<2"]
MIGRATIONS = "opscore.store.migrations"
DASHBOARD = ("web/dashboard/static/*", "web/dashboard/static/*/*")
EXAMPLES = {f"opscore.cli.examples.{name}": f"examples/{name}" for name in ("agentkit", "credit_analysis")}

setup(
    name="opscore",
    version=VERSION,
    description="The operational backbone for AI agents: durable flows over HTTP agents, one process, one SQLite file",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.9",
    # Migrations and the demos' examples live at the project's top level; in a wheel they travel inside the package.
    packages=[*find_packages(include=["opscore", "opscore.*"]), MIGRATIONS, *EXAMPLES],
    package_dir={MIGRATIONS: "migrations", **EXAMPLES},
    package_data={
        "opscore": ["py.typed", "store/sql/*.sql", "web/docs/static/*", *DASHBOARD],
        MIGRATIONS: ["*.sql"],
        **{package: ["*.yaml", "*.json", "*.md"] for package in EXAMPLES},
    },
    install_requires=REQUIRES,
    extras_require={"otel": OTEL},
    entry_points={"console_scripts": ["opscore = opscore.cli:main"]},
    zip_safe=False,
)
