"""The page on this machine: static files, and messages as lines of JSON while they come about.

Python's own server is enough: it listens on the loopback interface alone, and a stream ends when its connection does.
"""

import base64
import contextlib
import http.server
import importlib.resources
import json
import os
import secrets
import select
import socket
import sys
import threading
import time
import traceback
import urllib.parse
from typing import Any

import numpy as np

from fame_jax import files
from fame_jax.app import guard
from fame_jax.app.asked import AskedError
from fame_jax.app.memory import MOST_UPLOADED, Forgotten
from fame_jax.app.routes import AT_ONCE, ROUTES
from fame_jax.app.session import Messages, Session

FILES = {
    **dict.fromkeys(("/theme.css", "/page.css"), "text/css"),
    **dict.fromkeys(
        ("/page.js", "/api.js", "/view.js", "/classes.js", "/locations.js", "/faces.js", "/detections.js"),
        "text/javascript",
    ),
}
"""What the page loads; nothing in it is secret."""

_MOST_ASKED = 1 << 20  # Bytes of a question.


class Server(http.server.ThreadingHTTPServer):
    """Serves a session on the loopback interface.

    Args:
        session: with its networks.
        port: 0 for any that is free.

    Raises:
        OSError: if the port is taken.
    """

    daemon_threads = True
    # Elsewhere a port can be taken that answered a minute ago; on Windows it would be one that is in use.
    allow_reuse_address = os.name != "nt"

    def __init__(self, session: Session, port: int = 0) -> None:
        self.session, self.token = session, secrets.token_urlsafe(24)
        self._invitation, self._inviting = "", threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def address(self) -> str:
        """Of the page, with its token."""
        return f"http://127.0.0.1:{self.server_address[1]}/?token={self.token}"

    def invitation(self) -> str:
        """An address of the page that opens it once: others of this machine can read what a browser is started with."""
        self._invitation = secrets.token_urlsafe(24)
        return f"http://127.0.0.1:{self.server_address[1]}/?once={self._invitation}"

    def accepts(self, given: str) -> bool:
        """Whether somebody has the last invitation, which is used up by that."""
        with self._inviting:
            known = bool(self._invitation) and guard.knows(self._invitation, given)
            if known:
                self._invitation = ""
        return known

    def begin(self) -> None:
        """Serves from now on, in threads of its own."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def end(self, patience: float = 10.0) -> None:
        """Takes no more requests, ends walks at their next message, and waits for what cannot be ended."""
        self.session.closed = True
        self.shutdown()
        self.server_close()
        deadline = time.monotonic() + patience
        while len(self.session.line) and time.monotonic() < deadline:
            time.sleep(0.02)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is no error."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server  # type: ignore[reportIncompatibleVariableOverride]
    server_version, sys_version = "fame", ""
    timeout = 60

    def do_GET(self) -> None:
        """The page, for those with the token, and what it loads."""
        url = urllib.parse.urlsplit(self.path)
        if refusal := guard.refusal(self.headers, page=url.path == "/"):
            return self._refuse(403, refusal)
        if url.path in FILES:
            return self._file(url.path[1:], FILES[url.path])
        if url.path != "/":
            return self._refuse(404, "there is nothing of that name.")
        query = {name: values[0] for name, values in urllib.parse.parse_qs(url.query).items()}
        if self.server.accepts(query.get("once", "")):
            return self._head(303, "text/plain", Location=f"/?token={self.server.token}")
        given = query.get("token")
        if not guard.knows(self.server.token, given):
            return self._refuse(403, "open this page by the address that fame app has printed; its token is missing.")
        return self._file("index.html", "text/html; charset=utf-8")

    def do_POST(self) -> None:
        """A question: lines of JSON until the connection ends."""
        if refusal := guard.refusal(self.headers):
            return self._refuse(403, refusal)
        given = self.headers.get("Authorization", "").removeprefix("token ")
        if not guard.knows(self.server.token, given):
            return self._refuse(403, "the token is wrong; open the page by the address that fame app has printed.")
        name = self.path.removeprefix("/api/")
        if name != "photograph" and name not in {**ROUTES, **AT_ONCE}:
            return self._refuse(404, "there is nothing of that name.")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            return self._refuse(411, "the length is missing.")
        most = MOST_UPLOADED if name == "photograph" else _MOST_ASKED
        if int(length) > most:
            return self._refuse(413, f"this is above the limit of {most >> 20} MiB for a photograph.")
        body = self.rfile.read(int(length))
        if len(body) == int(length):
            self._stream(self._photograph(body) if name == "photograph" else self._answer(name, body))

    def _photograph(self, body: bytes) -> Messages:
        name = urllib.parse.unquote(self.headers.get("X-Name", "photograph"))
        # A name and nothing else: no folders, no line breaks.
        name = "".join(c for c in name.replace("\\", "/").rpartition("/")[2] if c.isprintable())[:200]
        yield {"photograph": self.server.session.photographs.add(body, name or "photograph")}

    def _answer(self, name: str, body: bytes) -> Messages:
        session = self.server.session
        try:
            content = files.parse_json(body.decode())
            if not isinstance(content, dict):
                raise AskedError("expected an object.")
            if name in AT_ONCE:
                yield from AT_ONCE[name](session, content)
            else:
                yield from session.in_turn(lambda: ROUTES[name](session, content))
        except Forgotten as error:
            yield {"error": "the photograph is not in memory any more; choose it again.", "forgotten": error.args[0]}
        except Exception as error:
            ours = type(error).__module__.split(".")[0] == "fame_jax" or isinstance(error, ImportError | ValueError)
            if not ours:
                traceback.print_exc()
            what = " ".join(str(error).split())[:500]
            yield {"error": what if ours else f"the program failed: {type(error).__name__}: {what}"}

    def _stream(self, messages: Messages) -> None:
        self._head(200, "application/x-ndjson")
        with contextlib.closing(messages), contextlib.suppress(OSError):
            for message in messages:
                if self._gone():
                    return
                self.wfile.write(json.dumps(message, default=_encoded, allow_nan=False).encode() + b"\n")
            if not self.server.session.closed:
                self.wfile.write(b'{"end": true}\n')

    def _gone(self) -> bool:
        """Whether the other side has closed the connection: nothing more is to be read, not even later."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _file(self, name: str, kind: str) -> None:
        self._head(200, kind)
        folder = importlib.resources.files("fame_jax")
        folder = folder / "report" if name == "theme.css" else folder / "app" / "page"
        self.wfile.write((folder / name).read_bytes())

    def _refuse(self, status: int, why: str) -> None:
        self._head(status, "text/plain; charset=utf-8")
        self.wfile.write(f"fame app: {why}\n".encode())

    def _head(self, status: int, kind: str, **more: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **guard.HEADERS, **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the address has the token in it."""


def _encoded(value: Any) -> Any:
    """Arrays as their float32 bytes with the shape, in base64 as bytes are."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, np.ndarray):
        return {"shape": value.shape, "float32": _encoded(np.ascontiguousarray(value, "<f4").tobytes())}
    raise TypeError(f"{type(value).__name__} is no JSON")
