"""A web server on 127.0.0.1 that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Site:
    """Paths, with their query or without, and what they answer; a full URL as a path is what a proxy gets."""

    port: int
    replies: dict[str, Reply]
    asked: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def reply(
    body: bytes = b"", status: int = 200, headers: Mapping[str, str] | None = None, *, length: bool = True
) -> Reply:
    """A plain answer; without `length` its end is the end of the connection."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        announced = {"Content-Length": str(len(body))} if length else {}
        for key, value in (announced | dict(headers or {})).items():
            handler.send_header(key, value)
        handler.end_headers()
        handler.wfile.write(body)

    return send


FAULTS = ("drop", "503", "429", "short", "short and says so", "without length", "other part", "whole", "stall")


def ranged(body: bytes, fault_of: Callable[[int], str | None] = lambda _: None, *, etag: str = '"one"') -> Reply:
    """Parts of a body as asked for (RFC 9110, section 14); the n-th request gets the n-th fault, if any."""
    numbers = itertools.count()

    def send(handler: BaseHTTPRequestHandler) -> None:
        fault = fault_of(next(numbers))
        first, last = handler.headers["Range"].removeprefix("bytes=").split("-")
        start, stop = int(first), min(int(last) + 1, len(body))
        if start >= len(body):
            reply(status=416)(handler)
        elif fault == "drop":
            handler.connection.close()
        elif fault in {"503", "429", "403", "404"}:
            reply(status=int(fault))(handler)
        elif fault == "whole":
            reply(body)(handler)
        elif fault == "stall":
            handler.connection.settimeout(10)
            handler.rfile.read(1)  # until the client hangs up
        else:
            if fault == "other part":
                start, stop = start // 2, start // 2 + stop - start
            part = body[start:stop]
            sent = part[: len(part) // 2] if fault and "part" not in fault else part
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(body)}")
            handler.send_header("ETag", etag)
            if fault != "without length":
                handler.send_header("Content-Length", str(len(sent if fault == "short and says so" else part)))
            handler.end_headers()
            handler.wfile.write(sent)

    return send


@contextmanager
def site(replies: Mapping[str, Reply]) -> Iterator[Site]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            served.agents.add(self.headers["User-Agent"])
            plain = self.path.partition("?")[0]
            served.replies.get(self.path, served.replies.get(plain, reply(b"nothing here", 404)))(self)

        def log_message(self, *args: object) -> None:
            """Tests want a quiet server."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            """Clients that hang up are part of the tests."""

    with Server(("127.0.0.1", 0), Handler) as server:
        served = Site(server.server_address[1], dict(replies))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
