"""Who is let in: this machine's browser, with the token, from the page itself and from no other site."""

import hmac
import urllib.parse
from collections.abc import Mapping
from email.message import Message

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names of this machine for itself. A site that lets its own name lead here (DNS rebinding) has another one."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self' http://localhost:* http://127.0.0.1:*"
)
"""Nothing is loaded from anywhere else, and nothing runs but the page's own scripts; a notebook may frame it."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def refusal(headers: Mapping[str, str] | Message, *, page: bool = False) -> str:
    """Why a request is not obeyed, whatever it asks; empty if it may be.

    Args:
        headers: of the request, by any spelling of their names.
        page: whether it is for the page itself, to which a link or a frame of a notebook may lead, with the token.
    """
    host = headers.get("Host") or ""
    try:
        named = urllib.parse.urlsplit(f"//{host}").hostname
    except ValueError:
        named = None
    if named not in LOOPBACK:
        return "this page is for this machine only: open it by the address that fame app has printed."
    origin = headers.get("Origin")
    if origin is not None and origin != f"http://{host}":
        return "a request of another site is not obeyed."
    if not page and headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return "a request of another site is not obeyed."
    return ""


def knows(token: str, given: str | None) -> bool:
    """Whether somebody has the token, in a time that tells nothing about it."""
    return hmac.compare_digest(token.encode(), (given or "").encode("utf-8", "replace"))
