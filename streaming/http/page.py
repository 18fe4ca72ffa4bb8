"""The live page as a response: one HTML file with a policy that allows its own script and style and nothing
else.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

from starlette.responses import HTMLResponse

_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


class Page:
    """The page and its headers."""

    def __init__(self, html: str) -> None:
        hashes = {kind: _hash(text) for kind, text in _INLINE.findall(html)}
        policy = (
            f"default-src 'none'; script-src 'sha256-{hashes['script']}'; style-src "
            f"'sha256-{hashes['style']}'; connect-src 'self'; img-src data:; base-uri 'none'; form-action "
            "'none'; frame-ancestors 'none'"
        )
        self._html = html
        self._headers = {
            "content-security-policy": policy,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cache-control": "no-cache",
        }

    @classmethod
    def load(cls) -> Page:
        """Read ``page.html`` of this package."""
        return cls(files("streaming.http").joinpath("page.html").read_text(encoding="utf-8"))

    def response(self) -> HTMLResponse:
        """Give the page."""
        return HTMLResponse(self._html, headers=self._headers)


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
