"""Hints for names that are nearly right."""

from __future__ import annotations

import difflib
from typing import Iterable


def nearest(name: object, names: Iterable[str]) -> str:
    """``; did you mean "x"?`` for a name that is nearly right, else nothing."""
    close = difflib.get_close_matches(str(name)[:100], sorted(names)[:2000], n=1)
    return f'; did you mean "{close[0]}"?' if close else ""
