"""Files from the web: the only place where geoseg asks a server for anything, and only when told to.

Proxies come from the usual environment variables (`https_proxy`, `no_proxy`, …), certificates from the system or
`SSL_CERT_FILE`. A file is small here (models), so a broken download starts over.
"""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from geoseg import __version__
from geoseg.errors import GeosegError, InputError, InputMissingError, PolicyError, TemporaryError, UsageError
from geoseg.io import posix

TIMEOUT_S = 30.0
"""Longest silence of a server."""
DEADLINE_S = 600.0
"""Longest time for one file, or more for a large one: a server that drips must not hold a job for ever."""
SLOWEST = 100_000.0
"""Bytes a second that a large file may take its time by."""
_PIECE = 1 << 16


def fetch(url: str, path: Path, *, max_bytes: int) -> None:
    """Download one file.

    Args:
        url: http or https.
        path: the file to write, in a folder for temporary files; only a complete file appears.
        max_bytes: a longer answer is refused.

    Raises:
        UsageError: neither http nor https.
        InputMissingError: the server has no such file.
        PolicyError: the server, a proxy or its certificate refuses, or a redirect leads to an unsafe place.
        InputError: the answer is a web page or too long.
        TemporaryError: no network, or the connection broke off.
        OutputError: writing failed.
    """
    check_url(url)
    draft = path.with_name(f".{path.name}.part")
    try:
        with _web_errors(url), _opener().open(_request(url), timeout=TIMEOUT_S) as answer:
            data = _read(url, answer, max_bytes)
        with posix.disk_errors("download", path, len(data), chosen_by="TMPDIR"):
            draft.write_bytes(data)
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def answered(url: str, headers: Mapping[str, str], *, timeout_s: float) -> Iterator[Any]:
    """An answer whose body is to be read, as `urllib` gives it; what goes wrong meanwhile is told in one line.

    Raises:
        InputMissingError, PolicyError, InputError, TemporaryError: see `fetch`.
    """
    request = _request(url)
    for name, value in headers.items():
        request.add_header(name, value)
    with _web_errors(url), _opener().open(request, timeout=timeout_s) as answer:
        yield answer


def check_url(url: str) -> None:
    """Refuse an address that no web server stands behind, or that carries a password into logs.

    Raises:
        UsageError: neither http nor https, no host, or a user name in it.
    """
    try:
        parts = urlsplit(url)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc
        fine = fine and parts.port != 0
    except ValueError:  # a port that is no number, brackets that do not close
        fine = False
    if not fine or any(c.isspace() or not c.isprintable() for c in url):
        raise UsageError(f"{url!r} is no http(s) address; give one such as https://host/folder.")


def _request(url: str) -> urllib.request.Request:
    return urllib.request.Request(url, headers={"User-Agent": f"geoseg/{__version__}"})  # noqa: S310 (checked)


def _opener() -> urllib.request.OpenerDirector:
    """Urllib's opener without its handlers for files and FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _SafeRedirects(),
    ):
        opener.add_handler(handler)
    return opener


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects from https to https, and within one host."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        downgraded = old.scheme == "https" != new.scheme
        elsewhere = old.hostname != new.hostname and old.scheme != "https"
        if downgraded or elsewhere:
            raise PolicyError(f"{req.full_url} redirects to {newurl}, which is not safe; use https or that address.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _read(url: str, answer: Any, max_bytes: int) -> bytes:
    """All bytes of an answer.

    Raises:
        InputError: too many, or a web page where a file should be.
        TemporaryError: fewer than announced, or too slow.
    """
    announced = answer.headers.get("Content-Length", "")
    expected = int(announced) if announced.isdecimal() else None
    if expected is not None and expected > max_bytes:
        raise InputError(f"{url} is {expected} bytes long, at most {max_bytes} can be right; check the address.")
    longest = max(DEADLINE_S, max_bytes / SLOWEST)
    data, until = bytearray(), time.monotonic() + longest
    while piece := answer.read1(_PIECE):
        data += piece
        if len(data) > max_bytes:
            raise InputError(f"{url} is longer than {max_bytes} bytes, which cannot be right; check the address.")
        if time.monotonic() > until:
            raise TemporaryError(f"{url} sent {len(data)} bytes in {longest:.0f} s, too slow; try again later.")
    if expected is not None and len(data) != expected:
        raise TemporaryError(f"{url} broke off after {len(data)} of {expected} bytes; try again.")
    begin = bytes(data[:64]).lstrip().lower()
    if answer.headers.get_content_type() == "text/html" or begin.startswith((b"<!doctype html", b"<html")):
        raise InputError(f"{url} answers with a web page, not a file; is there a login or a portal between?")
    return bytes(data)


@contextmanager
def _web_errors(url: str) -> Iterator[None]:
    """What urllib and http.client raise → one line and the exit code that fits."""
    try:
        yield
    except GeosegError:  # some are OSErrors by birth
        raise
    except HTTPError as error:
        raise _refusal(url, error) from error
    except (URLError, http.client.HTTPException, OSError) as error:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise PolicyError(
                f"{url}: certificate not trusted ({cause.verify_message}); set SSL_CERT_FILE to your authority's."
            ) from error
        raise TemporaryError(f"{url} cannot be reached ({_words(cause)}).") from error


def _refusal(url: str, error: HTTPError) -> GeosegError:
    said = f"{url} answers {error.code} {' '.join(str(error.reason).split())}"
    if error.code in {404, 410}:
        return InputMissingError(f"{said}: there is no such file; check the address.")
    if error.code in {401, 403, 407, 451}:
        return PolicyError(f"{said}: the server or a proxy refuses.")
    if error.code in {408, 425, 429} or error.code >= 500:
        return TemporaryError(f"{said}; try again later.")
    return InputError(f"{said}; check the address.")


def _words(cause: object) -> str:
    if isinstance(cause, TimeoutError):
        return f"no answer within {TIMEOUT_S:.0f} s"
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__)
