"""Rasters on a web server that fails in every way: the exact pixels, or an error; never wrong pixels."""

from __future__ import annotations

import random

import numpy as np
import pytest
import rasterio
from builders import write_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import FAULTS, Site, ranged, reply, site

from geoseg.errors import (
    GeosegError,
    InputError,
    InputMissingError,
    PolicyError,
    TemporaryError,
    without_secrets,
)
from geoseg.grid import Window
from geoseg.io import handles, ranges
from geoseg.io.compose import open_scene
from geoseg.io.ranges import Patience, WebFile
from geoseg.io.read import read_inside
from geoseg.io.remote import open_remote
from geoseg.io.sample import fingerprint

QUICK = Patience(tries=5, first_wait_s=0.0, longest_wait_s=0.0, silence_s=0.3, part_s=5.0)
STORAGES = {"plain": {}, "deflate": {"compress": "deflate"}, "cog": {"driver": "COG", "compress": "deflate"}}


@pytest.fixture(autouse=True)
def _quick_and_forgetful(monkeypatch):
    monkeypatch.setattr(ranges, "PATIENCE", QUICK)
    monkeypatch.setattr(ranges, "_pieces", ranges._Pieces())
    yield
    handles.close_all()


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(5).integers(1, 4000, (2, 300, 280)).astype("uint16")


@pytest.fixture(scope="module")
def bodies(pixels, tmp_path_factory) -> dict[str, bytes]:
    """Small blocks, so that the list of blocks, which GDAL reads first, is itself a target."""
    folder = tmp_path_factory.mktemp("web")
    found = {}
    for name, profile in STORAGES.items():
        tiles = {"blocksize": 64} if name == "cog" else {"tiled": True, "blockxsize": 16, "blockysize": 16}
        found[name] = write_raster(folder / f"{name}.tif", pixels, nodata=0, **tiles, **profile).read_bytes()
    return found


def served(body: bytes, fault_of=lambda _: None, **more: object):
    return site({"/scene.tif?sig=CANARY": ranged(body, fault_of, **more)})


def address(server: Site) -> str:
    return f"{server.url}/scene.tif?sig=CANARY"


def pixels_of(url: str) -> np.ndarray:
    scene = open_scene([url])
    return read_inside(scene, scene.grid.window)[0]


@pytest.mark.parametrize("form", ["{}", "/vsicurl/{}"])
@pytest.mark.parametrize("storage", STORAGES)
def test_a_sound_server(form, storage, pixels, bodies) -> None:
    with served(bodies[storage]) as server:
        np.testing.assert_array_equal(pixels_of(form.format(address(server))), pixels)
        assert len(server.asked) < 12


def outcome(body: bytes, pixels: np.ndarray, fault_of) -> str:
    """ "exact", or the name of the error; wrong pixels fail the test."""
    ranges._pieces = ranges._Pieces()
    with pytest.MonkeyPatch.context() as patch, served(body, fault_of) as server:
        patch.setattr(ranges, "PIECE", 4096)
        try:
            found = pixels_of(address(server))
        except GeosegError as error:
            return type(error).__name__
        finally:
            handles.close_all()
    np.testing.assert_array_equal(found, pixels)
    return "exact"


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    share=st.sampled_from([0.1, 0.3, 0.6]),
    storage=st.sampled_from(list(STORAGES)),
    fault=st.sampled_from([fault for fault in FAULTS if fault not in {"stall", "whole"}]),
)
def test_exact_pixels_or_run_again(seed, share, storage, fault, pixels, bodies) -> None:
    dice = random.Random(seed)
    found = outcome(bodies[storage], pixels, lambda _: fault if dice.random() < share else None)
    assert found in {"exact", "TemporaryError"}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("storage", STORAGES)
def test_a_single_failure_costs_nothing(fault, storage, pixels, bodies) -> None:
    """The third request fails, whatever it asks for; the first, which learns what the server can do, is spared."""
    assert outcome(bodies[storage], pixels, lambda n: fault if n == 2 else None) == "exact"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_fails_for_good_says_run_again(fault, pixels, bodies) -> None:
    found = outcome(bodies["deflate"], pixels, lambda n: fault if n > 2 else None)
    assert found == ("InputError" if fault == "whole" else "TemporaryError")  # parts are given no more


def test_mutation_believing_short_answers_turns_it_red(pixels, bodies, monkeypatch) -> None:
    """Named mutation: what arrives of the list of blocks is taken for all of it; GDAL reads zeros for the others."""
    whole = WebFile._bytes

    def believing(self: WebFile, start: int, stop: int) -> bytes:
        data = whole(self, start, stop)
        return data[: len(data) // 2] if len(data) > 2000 else data  # the list is longer, each block shorter

    monkeypatch.setattr(WebFile, "_bytes", believing)
    with pytest.raises(AssertionError, match="Mismatched elements"):
        outcome(bodies["plain"], pixels, lambda _: None)


WEB_PAGE = reply(b"<!DOCTYPE html><title>Log in</title>", headers={"Content-Type": "text/html"})


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (reply(status=404), InputMissingError, "404"),
        (reply(status=410), InputMissingError, "410"),
        (reply(status=403), PolicyError, "refuses"),
        (reply(status=401), PolicyError, "refuses"),
        (reply(status=503), TemporaryError, "5 tries failed, run again"),
        (reply(status=429), TemporaryError, "5 tries failed, run again"),
        (WEB_PAGE, InputError, "a web page, not a raster"),
        (reply(b"II*\0" + bytes(900)), InputError, "no parts of files (HTTP Range); download"),
        (reply(b""), InputError, "is empty (0 bytes)"),
        (ranged(b"<VRTDataset>" + bytes(300)), PolicyError, "may read any file here; download it"),
        (ranged(bytes(5000)), InputError, "cannot be read as a raster"),
    ],
)
def test_what_a_server_may_answer(answer, error, said) -> None:
    with site({"/scene.tif?sig=CANARY": answer}) as server, pytest.raises(error) as caught:
        open_scene([address(server)])
    assert said in str(caught.value)
    assert "/scene.tif" in str(caught.value)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(("status", "error"), [("403", PolicyError), ("404", InputMissingError)])
def test_what_is_refused_in_the_middle_is_told_as_such(status, error, bodies) -> None:
    """A signed address expires."""
    with served(bodies["plain"], lambda n: status if n > 2 else None) as server, pytest.raises(error):
        pixels_of(address(server))


def test_a_file_replaced_after_its_description_is_noticed(bodies) -> None:
    with served(bodies["plain"]) as server:
        scene = open_scene([address(server)])
        (path,) = server.replies
        server.replies[path] = ranged(bodies["plain"], etag='"two"')
        with pytest.raises(InputError, match="changed since the run began"):
            read_inside(scene, Window(0, 0, 9, 9))


def test_a_file_replaced_between_two_parts_is_noticed(bodies, monkeypatch) -> None:
    monkeypatch.setattr(ranges, "PIECE", 4096)
    with served(bodies["plain"]) as server:
        (dataset,), file = open_remote(address(server))
        (path,) = server.replies
        server.replies[path] = ranged(bodies["plain"], etag='"two"')
        with dataset, pytest.raises(rasterio.errors.RasterioIOError):
            dataset.read()
        assert "changed while it was read" in str(file.failures[0])


def test_the_fingerprint_tells_files_apart_and_keeps_no_secret(bodies) -> None:
    with served(bodies["plain"]) as server:
        first = fingerprint(address(server))
        assert first == fingerprint(open_scene([address(server)]).paths[0])
        assert first["name"] == "scene.tif"
        assert first["bytes"] == len(bodies["plain"])
        assert first["etag"] == '"one"'
        (path,) = server.replies
        server.replies[path] = ranged(bodies["plain"], etag='"two"')
        assert fingerprint(address(server)) != first
        assert "CANARY" not in str(first)


def test_the_fingerprint_without_an_etag_looks_at_pieces(bodies) -> None:
    def bare(body: bytes):
        sent = ranged(body)

        def send(handler) -> None:
            keep = handler.send_header
            handler.send_header = lambda key, value: None if key == "ETag" else keep(key, value)
            sent(handler)

        return send

    body = bodies["plain"]
    with site({"/a.tif": bare(body), "/b.tif": bare(body[:-1] + b"!")}) as server:
        first, second = (fingerprint(f"{server.url}/{name}.tif") for name in "ab")
    assert first["etag"] is None
    assert first["blake2b"] != second["blake2b"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://h/x.tif?sig=S: gone", "https://h/x.tif: gone"),
        ("'https://me:word@h:8/a/x.tif#S' and https://h/y?S.", "'https://h:8/a/x.tif' and https://h/y."),
        ("/vsicurl/http://h/x.tif?S", "/vsicurl/http://h/x.tif"),
        ("what? a#b me@home", "what? a#b me@home"),
    ],
)
def test_secrets_in_addresses_are_not_shown(text, shown) -> None:
    assert without_secrets(text) == shown
    assert str(InputError(text)) == shown
    assert str(InputMissingError(text)) == shown
