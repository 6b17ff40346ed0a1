"""Downloads from a server on this machine: every way in which they go wrong, and nothing left behind."""

from __future__ import annotations

import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.error import URLError

import pytest
from loopback import Site, reply, site

from geoseg import __version__
from geoseg.errors import GeosegError, PolicyError, UsageError
from geoseg.io import fetch as module
from geoseg.io.cache import cache_folder
from geoseg.io.fetch import check_url, fetch

BODY = bytes(range(256)) * 700


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")


@pytest.fixture
def server() -> Iterator[Site]:
    with site({"/file": reply(BODY)}) as served:
        yield served


def refused(url: str, folder: Path, *, code: int, message: str, max_bytes: int = 10**6) -> str:
    with pytest.raises(GeosegError) as caught:
        fetch(url, folder / "file", max_bytes=max_bytes)
    assert caught.value.exit_code == code
    assert message in str(caught.value)
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(folder.iterdir()) == []
    return str(caught.value)


def test_a_file_arrives_whole(server: Site, tmp_path: Path) -> None:
    fetch(f"{server.url}/file", tmp_path / "file", max_bytes=len(BODY))
    server.replies["/endless"] = reply(BODY, length=False)
    fetch(f"{server.url}/endless", tmp_path / "other", max_bytes=len(BODY))
    assert (tmp_path / "file").read_bytes() == (tmp_path / "other").read_bytes() == BODY
    assert {path.name for path in tmp_path.iterdir()} == {"file", "other"}
    assert server.agents == {f"geoseg/{__version__}"}


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, 66), (410, 66), (401, 77), (403, 77), (451, 77), (429, 75), (500, 75), (503, 75), (400, 65), (418, 65)],
)
def test_what_the_server_refuses(server: Site, tmp_path: Path, status: int, code: int) -> None:
    server.replies["/file"] = reply(b"<html>no</html>", status)
    refused(f"{server.url}/file", tmp_path, code=code, message=f"answers {status}")


def test_what_is_too_long(server: Site, tmp_path: Path) -> None:
    refused(f"{server.url}/file", tmp_path, code=65, message=f"is {len(BODY)} bytes long", max_bytes=len(BODY) - 1)
    server.replies["/file"] = reply(BODY, length=False)
    refused(f"{server.url}/file", tmp_path, code=65, message="longer than", max_bytes=len(BODY) - 1)


@pytest.mark.parametrize(
    "page",
    [
        reply(b"log in", headers={"Content-Type": "text/html; charset=utf-8"}),
        reply(b"\n<!DOCTYPE html><html>log in</html>"),
        reply(b"<HTML>log in</HTML>", headers={"Content-Type": "application/octet-stream"}),
    ],
)
def test_a_web_page_is_no_file(server: Site, tmp_path: Path, page: object) -> None:
    server.replies["/file"] = page
    refused(f"{server.url}/file", tmp_path, code=65, message="a web page")


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def broken_chunks(handler: BaseHTTPRequestHandler) -> None:
    handler.protocol_version = "HTTP/1.1"
    reply(b"400\r\nonly this", headers={"Transfer-Encoding": "chunked", "Connection": "close"}, length=False)(handler)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (reply(BODY, headers={"Content-Length": "999999"}), f"broke off after {len(BODY)} of 999999 bytes"),
        (broken_chunks, "cannot be reached"),
        (hang_up, "cannot be reached"),
    ],
)
def test_a_connection_that_breaks(server: Site, tmp_path: Path, broken: object, message: str) -> None:
    server.replies["/file"] = broken
    refused(f"{server.url}/file", tmp_path, code=75, message=message)


def test_a_server_that_stalls_or_drips(server: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        reply(BODY[:1000], headers={"Content-Length": "2000"})(handler)
        over.wait(20)

    def drip(handler: BaseHTTPRequestHandler) -> None:
        reply(b"", headers={"Content-Length": "2000"})(handler)
        while not over.wait(0.02):
            handler.wfile.write(b".")

    try:
        monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
        server.replies["/file"] = stall
        refused(f"{server.url}/file", tmp_path, code=75, message="no answer within")
        monkeypatch.setattr(module, "TIMEOUT_S", 5.0)
        monkeypatch.setattr(module, "DEADLINE_S", 0.3)
        server.replies["/file"] = drip
        refused(f"{server.url}/file", tmp_path, code=75, message="too slow")
    finally:
        over.set()


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
        refused(url, tmp_path, code=75, message="Connection refused")

    def no_names(*_args: object, **_more: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_names)
    refused("https://nowhere.invalid/file", tmp_path, code=75, message="Name or service not known")


def test_a_certificate_that_nobody_vouches_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A company's proxy that opens TLS: rerunning does not help, trusting its authority does."""
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate in certificate chain"

    def untrusted(*_args: object, **_more: object) -> None:
        raise URLError(error)

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", untrusted)
    told = refused("https://host.invalid/file", tmp_path, code=77, message="self-signed certificate")
    assert "SSL_CERT_FILE" in told


def test_redirects_stay_on_a_safe_path(server: Site, tmp_path: Path) -> None:
    server.replies["/moved"] = reply(b"", 302, {"Location": "/file"})
    fetch(f"{server.url}/moved", tmp_path / "file", max_bytes=len(BODY))
    assert (tmp_path / "file").read_bytes() == BODY
    (tmp_path / "file").unlink()
    elsewhere = f"http://localhost:{server.port}/file"
    server.replies["/moved"] = reply(b"", 302, {"Location": elsewhere})
    server.asked.clear()
    refused(f"{server.url}/moved", tmp_path, code=77, message=f"redirects to {elsewhere}")
    assert server.asked == ["/moved"]
    for target in ("file:///etc/hostname", "ftp://127.0.0.1/file"):
        server.replies["/moved"] = reply(b"", 302, {"Location": target})
        with pytest.raises(GeosegError):
            fetch(f"{server.url}/moved", tmp_path / "file", max_bytes=len(BODY))
    server.replies["/moved"] = reply(b"", 302, {"Location": "/moved"})
    refused(f"{server.url}/moved", tmp_path, code=65, message="answers 302")


@pytest.mark.parametrize(
    ("old", "new", "fine"),
    [
        ("https://a.org/x", "https://b.org/x", True),
        ("https://a.org/x", "http://a.org/x", False),
        ("http://a.org/x", "https://a.org/x", True),
        ("http://a.org/x", "https://b.org/x", False),
        ("http://a.org/x", "http://A.org/y", True),
    ],
)
def test_redirects_by_scheme_and_host(old: str, new: str, fine: bool) -> None:
    handler = module._SafeRedirects()
    asked = urllib.request.Request(old)  # noqa: S310
    if fine:
        assert handler.redirect_request(asked, None, 302, "Found", {}, new).full_url == new
    else:
        with pytest.raises(PolicyError, match="not safe"):
            handler.redirect_request(asked, None, 302, "Found", {}, new)


def test_proxies_of_the_environment(server: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = "http://models.invalid/file"
    server.replies[far] = reply(BODY)
    monkeypatch.setenv("http_proxy", server.url)
    fetch(far, tmp_path / "file", max_bytes=len(BODY))
    fetch(f"{server.url}/file", tmp_path / "file", max_bytes=len(BODY))  # no_proxy names this host
    assert server.asked == [far, "/file"]


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/hostname",
        "ftp://host/file",
        "host/file",
        "https://",
        "https://user:word@host/file",
        "http://host:99999/",
        "http://host:0/",
        "http://[::1/",
        "https://a b/",
        "https://host/\nHost: other",
        "",
    ],
)
def test_what_is_no_address(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no http\(s\) address"):
        fetch(url, tmp_path / "file", max_bytes=1)
    check_url("https://host:8443/folder")


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.setenv("GEOSEG_CACHE", "")
    assert cache_folder() == tmp_path / "xdg" / "geoseg"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    for platform, place in (("linux", ".cache/geoseg"), ("darwin", "Library/Caches/geoseg")):
        monkeypatch.setattr("sys.platform", platform)
        assert cache_folder() == tmp_path / place
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    assert cache_folder() == tmp_path / "Local" / "geoseg" / "Cache"


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GEOSEG_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(UsageError, match="set GEOSEG_CACHE"):
        cache_folder()
