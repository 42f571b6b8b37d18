"""Answers for aioresponses, which does not know yet what aiohttp's newest responses are made of."""

from __future__ import annotations

import inspect
from typing import Any
from unittest.mock import Mock

from aiohttp import ClientResponse

_NEEDS_WRITER = "stream_writer" in inspect.signature(ClientResponse.__init__).parameters


class Played(ClientResponse):
    """To be given to aioresponses as ``response_class``."""

    def __init__(self, *args: Any, **options: Any) -> None:
        if _NEEDS_WRITER:
            options.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **options)
