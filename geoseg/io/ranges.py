"""Parts of a file on a web server, each one complete, of the same file, and where it was asked for; or an error.

GDAL's own reader of such files (`/vsicurl/`) is not used for pixels: where an answer that holds the list of a TIFF's
blocks was cut short, GDAL 3.10 was seen to take the missing blocks for sparse ones and to read zeros without a word.
Here an answer counts only when status, `Content-Range`, length and `ETag` agree (RFC 9110, sections 8.8 and 14).
"""

from __future__ import annotations

import hashlib
import math
import random
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from geoseg.errors import InputError, PolicyError, TemporaryError, without_secrets
from geoseg.io.fetch import answered, check_url
from geoseg.io.signing import renewable, signed

T = TypeVar("T")

PIECE = 128 * 2**10
"""Bytes that are asked for and kept at least; one that is read through asks for all it needs at once."""
KEPT_PIECES = 512
"""64 MiB a process, for all files."""


@dataclass(frozen=True)
class Patience:
    """How long to try for one part of a file."""

    tries: int = 6
    first_wait_s: float = 0.5
    """Doubled after each failure, half to one and a half of it at random, so that workers do not return in step."""
    longest_wait_s: float = 8.0
    silence_s: float = 20.0
    """Longest silence of a server."""
    part_s: float = 120.0
    """Longest time for one part: a server that drips must not hold a job for ever."""

    def wait_s(self, failures: int) -> float:
        """Seconds before the next try, at random."""
        longest = min(self.longest_wait_s, math.ldexp(self.first_wait_s, failures - 1))
        return longest * random.uniform(0.5, 1.5)  # noqa: S311 (no secret)


PATIENCE = Patience()


@dataclass(frozen=True)
class WebState:
    """What a server says about a file; another one when the file is another."""

    size: int
    etag: str | None
    modified: str | None

    @property
    def digest(self) -> str:
        """A short name of this state."""
        text = f"{self.size}\n{self.etag}\n{self.modified}"
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def look_at(url: str) -> tuple[WebState, bytes]:
    """A file's state and its first bytes (at most `PIECE`), asked for anew.

    Raises:
        UsageError: no http(s) address.
        InputMissingError: there is no such file.
        PolicyError: the server refuses.
        InputError: a web page, an empty file, or a server that gives no parts of files.
        TemporaryError: no (complete) answer after several tries.
    """
    check_url(url)
    return patiently(lambda: _once(url, 0, PIECE, None), url)


def fetch_range(url: str, start: int, stop: int, expected: WebState) -> bytes:
    """Bytes start … stop-1 of a file that was looked at.

    Raises:
        InputError: the file is another one by now.
        InputMissingError, PolicyError: it is gone, or refused by now.
        TemporaryError: no (complete) answer after several tries.
    """
    return patiently(lambda: _once(url, start, stop, expected), url)[1]


def patiently(attempt: Callable[[], T], url: str) -> T:
    """What an attempt gives, made again after failures that may pass, with growing pauses (see `PATIENCE`).

    Raises:
        TemporaryError: it failed too often.
        PolicyError: the server refuses, a new signature of the address (`geoseg.io.signing`) included.
    """
    failures, renewed = 0, False
    while True:
        try:
            return attempt()
        except PolicyError:
            if renewed or not renewable(url):
                raise
            renewed = True
        except TemporaryError as error:
            failures += 1
            if failures >= PATIENCE.tries:
                raise TemporaryError(f"{str(error).rstrip('.')}; {failures} tries failed, run again later.") from error
            time.sleep(PATIENCE.wait_s(failures))


def _once(url: str, start: int, stop: int, expected: WebState | None) -> tuple[WebState, bytes]:
    headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
    with answered(signed(url), headers, timeout_s=PATIENCE.silence_s) as answer:
        begin, end, size = _place(url, answer, expected)
        state = WebState(size, answer.headers.get("ETag"), answer.headers.get("Last-Modified"))
        if expected is not None and state != expected:
            raise InputError(f"{url} changed while it was read; run again when nobody writes it.")
        if (begin, end) != (start, min(stop, size)):
            raise TemporaryError(f"{url} sent bytes {begin}…{end - 1} instead of {start}…{min(stop, size) - 1}.")
        data = _body(url, answer, end - begin)
    if start == 0:
        _check_begin(url, answer, data)
    return state, data


def _place(url: str, answer: Any, expected: WebState | None) -> tuple[int, int, int]:
    """(first byte, byte after the last, size of the file) of an answer."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("Content-Range", "").strip())
    if answer.status == 206 and found and answer.headers.get("Content-Encoding", "identity") == "identity":
        return int(found[1]), int(found[2]) + 1, int(found[3])
    if expected is not None:  # it could do better before
        raise TemporaryError(f"{url} answers {answer.status} without the part that was asked for.")
    _check_begin(url, answer, answer.read(64))
    if answer.headers.get("Content-Length") == "0":
        raise InputError(f"input {url} is empty (0 bytes); check the address.")
    raise InputError(f"{url}: the server gives no parts of files (HTTP Range); download the file first.")


def check_complete(url: str, body: bytes, announced: str) -> None:
    """Refuse a body that is shorter than its Content-Length.

    Raises:
        TemporaryError: it is.
    """
    if announced.isdecimal() and len(body) < int(announced):
        raise TemporaryError(f"{url} broke off after {len(body)} of {announced} bytes.")


def _body(url: str, answer: Any, length: int) -> bytes:
    """All bytes of an answer, and not one more or less."""
    data, until = bytearray(), time.monotonic() + PATIENCE.part_s
    while piece := answer.read1(PIECE):
        data += piece
        if len(data) > length or time.monotonic() > until:
            break
    if len(data) != length:
        raise TemporaryError(f"{url} sent {len(data)} bytes where {length} were due.")
    return bytes(data)


def _check_begin(url: str, answer: Any, data: bytes) -> None:
    begin = data[:64].lstrip().lower()
    if answer.headers.get_content_type() == "text/html" or begin.startswith((b"<!doctype html", b"<html")):
        raise InputError(f"{url} answers with a web page, not a raster; is there a login or a portal between?")


class _Pieces:
    """Pieces of files that were read last, for all threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, str, int]) -> bytes | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: tuple[str, str, int], data: bytes) -> None:
        with self._lock:
            self._kept[key] = data
            while len(self._kept) > KEPT_PIECES:
                self._kept.popitem(last=False)


_pieces = _Pieces()


class WebFile:
    """One file on a server as GDAL reads it: a position and `read`; what fails is kept, not raised.

    An exception would be lost in GDAL's C code, so a failed read looks like the end of the file, and whoever asked GDAL
    for something looks at `failures` next, before believing the answer.
    """

    def __init__(self, url: str, state: WebState, failures: list[Exception] | None = None) -> None:
        self.url, self.state = url, state
        self.failures = [] if failures is None else failures
        self._at = 0

    def again(self) -> WebFile:
        """The same file with a position of its own; failures are shared."""
        return WebFile(self.url, self.state, self.failures)

    def read(self, count: int = -1) -> bytes:
        """The next bytes; fewer at the end of the file, none after a failure."""
        stop = self.state.size if count < 0 else min(self._at + count, self.state.size)
        if self.failures or stop <= self._at:
            return b""
        try:
            data = self._bytes(self._at, stop)
        except Exception as error:  # noqa: BLE001 (raised again by whoever asked GDAL)
            self.failures.append(error)
            return b""
        self._at = stop
        return data

    def _bytes(self, start: int, stop: int) -> bytes:
        """From the pieces at hand; each run of missing ones is one request."""
        first, last = start // PIECE, -(-stop // PIECE)
        found = {n: _pieces.get((self.url, self.state.digest, n)) for n in range(first, last)}
        missing = [n for n, piece in found.items() if piece is None]
        while missing:
            run = 1
            while run < len(missing) and missing[run] == missing[0] + run:
                run += 1
            begin, end = missing[0] * PIECE, min((missing[0] + run) * PIECE, self.state.size)
            data = fetch_range(self.url, begin, end, self.state)
            for i, n in enumerate(missing[:run]):
                found[n] = data[i * PIECE : (i + 1) * PIECE]
                _pieces.put((self.url, self.state.digest, n), found[n] or b"")
            missing = missing[run:]
        whole = b"".join(found[n] or b"" for n in range(first, last))
        return whole[start - first * PIECE : stop - first * PIECE]

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a byte counted from the start, from here, or from the end."""
        self._at = offset + (0, self._at, self.state.size)[whence]
        return self._at

    def tell(self) -> int:
        """Where the next read starts."""
        return self._at

    def close(self) -> None:
        """Nothing is open between reads."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"WebFile({without_secrets(self.url)})"
