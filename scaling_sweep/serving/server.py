"""The process that answers a browser: a handful of fixed addresses, and nothing is written."""

import gzip
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from analysis.files.places import find_place
from scaling_sweep.serving.page import LivePage, script, style_sheet

LOOPBACK = "127.0.0.1"
# By these names a browser on this machine reaches us. Another name would be a page elsewhere that
# has made its own name point here, to read what is served (DNS rebinding).
_OUR_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
# The sweep's workers come first.
_NICENESS = 10
# A browser sends its request in milliseconds; what does not must not hold a thread.
_REQUEST_TIMEOUT_S = 10.0
# The default takes 8 times as long for 7 % less (measured on one page).
_GZIP_LEVEL = 5
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src data:; style-src 'self'; script-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Route:
    """What one address answers.

    Attributes:
        kind: Its media type.
        make: Returns the text.
    """

    kind: str
    make: Callable[[], str]


def make_routes(page: LivePage) -> Mapping[str, Route]:
    """Return every address there is. None of them names a file.

    Args:
        page: Of the run.

    Returns:
        Routes by path.
    """
    return {
        "/": Route("text/html", page.whole),
        "/live": Route("text/html", page.live),
        "/live.css": Route("text/css", style_sheet),
        "/live.js": Route("text/javascript", script),
        "/status.json": Route("application/json", page.status_json),
    }


class PageServer(ThreadingHTTPServer):
    """Serves the live page of one run folder on the loopback interface.

    Args:
        run: The folder; need not exist yet.
        port: 0 takes a free one.
    """

    daemon_threads = True

    def __init__(self, run: Path, port: int) -> None:
        super().__init__((LOOPBACK, port), _Handler)
        self.page = LivePage(run)
        self.routes = make_routes(self.page)
        # The page is made by one thread at a time, however many browsers ask.
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{LOOPBACK}:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of browsers that hang up."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one browser."""

    server: PageServer
    timeout = _REQUEST_TIMEOUT_S
    server_version = "scaling-sweep"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer a fixed address, and no other."""
        if _name_of(self.headers.get("Host", "")) not in _OUR_NAMES:
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", "open this page as localhost\n")
            return
        # Compared as it was sent: nothing is decoded, joined or looked up on a disk.
        route = self.server.routes.get(self.path)
        if route is None:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", "there is only /\n")
            return
        try:
            with self.server.lock:
                text = route.make()
        except Exception as error:  # a page that cannot be made is an answer too
            kind = type(error).__name__
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", f"{kind}\n")
            return
        self._answer(HTTPStatus.OK, route.kind, text)

    def _refuse(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", "GET only\n")

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815

    def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
        body = text.encode("utf-8", errors="replace")
        zipped = "gzip" in self.headers.get("Accept-Encoding", "")
        if zipped:
            body = gzip.compress(body, _GZIP_LEVEL)
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if zipped:
            self.send_header("Content-Encoding", "gzip")
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Write no log."""


def _name_of(host: str) -> str | None:
    """Return the name in a Host header, without the port; None where it is none.

    Example:
        >>> _name_of("localhost:8642"), _name_of("[::1]:80"), _name_of("evil.example")
        ('localhost', '::1', 'evil.example')
    """
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _say(line: str) -> None:
    """Tell the run's process one line for a person."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until standard input ends; arguments are the run folder and the port."""
    folder, port = find_place(sys.argv[1]), int(sys.argv[2])
    os.nice(_NICENESS)
    try:
        server = PageServer(folder, port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        _say(f"No live page at port {port} ({reason}); write another --serve PORT.")
        return
    _say(f"Live page: {server.url}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.buffer.read()
    # Threads that still answer are daemons: nothing is waited for, nothing is written.
    server.server_close()
    os._exit(0)
