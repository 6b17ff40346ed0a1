"""Signed addresses: asked for late, kept a while, renewed when refused, shown nowhere."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from urllib.parse import urlsplit

import numpy as np
import pytest
import stac_kit
from builders import write_raster
from loopback import Site, ranged, reply, site

from geoseg.errors import DeviceError, GeosegError, PolicyError, TemporaryError, UsageError
from geoseg.io import handles, ranges, signing
from geoseg.io.compose import open_scene
from geoseg.io.read import read_inside
from geoseg.io.sample import fingerprint
from geoseg.settings import ReadSettings

HOOK = ReadSettings(sign="stac_kit:sign")
PIXELS = np.random.default_rng(3).integers(1, 4000, (2, 90, 80)).astype("uint16")


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch):
    monkeypatch.setattr(ranges, "PATIENCE", ranges.Patience(tries=2, first_wait_s=0.0, longest_wait_s=0.0))
    monkeypatch.setattr(ranges, "_pieces", ranges._Pieces())
    monkeypatch.setattr(signing, "_signatures", {})
    monkeypatch.setattr(stac_kit, "SIGNED", [])
    yield
    handles.close_all()


@pytest.fixture
def server(tmp_path) -> Iterator[Site]:
    """Answers whoever shows the signature that is right by then."""
    body = write_raster(tmp_path / "x.tif", PIXELS, nodata=0, tiled=True, blockxsize=16, blockysize=16).read_bytes()
    parts = ranged(body)

    def guarded(handler) -> None:
        fine = urlsplit(handler.path).query == f"sig={served.valid}"
        (parts if fine else reply(status=403))(handler)

    with site({"/x.tif": guarded}) as served:
        served.valid = "CANARY-1"
        yield served


def test_pixels_come_through_one_signature_that_stays_secret(server) -> None:
    url = f"{server.url}/x.tif"
    scene = open_scene([url], HOOK)
    np.testing.assert_array_equal(read_inside(scene, scene.grid.window)[0], PIXELS)
    assert [url] == stac_kit.SIGNED
    assert fingerprint(scene.paths[0])["name"] == "x.tif"
    assert b"CANARY" not in pickle.dumps(scene)


def test_an_expired_signature_is_renewed(server, monkeypatch) -> None:
    monkeypatch.setattr(ranges, "PIECE", 4096)
    scene = open_scene([f"{server.url}/x.tif"], HOOK)
    server.valid = "CANARY-2"
    np.testing.assert_array_equal(read_inside(scene, scene.grid.window)[0], PIXELS)
    assert len(stac_kit.SIGNED) == 2


def test_a_server_that_refuses_anew_ends_the_run(server) -> None:
    server.valid = "another"
    with pytest.raises(PolicyError, match="403") as caught:
        open_scene([f"{server.url}/x.tif"], HOOK)
    assert len(stac_kit.SIGNED) == 2
    assert "CANARY" not in str(caught.value)


def test_an_old_signature_is_not_used(server, monkeypatch) -> None:
    monkeypatch.setattr(signing, "KEPT_S", -1.0)
    server.valid = "CANARY-1"
    with pytest.raises(PolicyError):  # the second request comes with the second signature
        open_scene([f"{server.url}/x.tif"], HOOK)


@pytest.mark.parametrize(
    ("hook", "error", "said"),
    [
        ("stac_kit:nothing", UsageError, "module stac_kit has no 'nothing'"),
        ("no_such_module:sign", UsageError, "there is no module 'no_such_module'"),
        ("stac_kit:COG", UsageError, "COG is str, no function"),
        ("stac_kit:sign_nothing", UsageError, "gives NoneType; it must take and give an address"),
        ("stac_kit:sign_later", TemporaryError, "did not sign http://127.0.0.1"),
        ("planetary-computer", DeviceError, "pip install 'geoseg[stac]'"),
        ("rm -rf", UsageError, "neither planetary-computer nor module:function"),
    ],
)
def test_hooks_that_do_not_work(server, monkeypatch, hook, error, said) -> None:
    monkeypatch.setitem(__import__("sys").modules, "planetary_computer", None)  # as if it were not installed
    signing._function.cache_clear()
    with pytest.raises(GeosegError) as caught:
        open_scene([f"{server.url}/x.tif"], ReadSettings(sign=hook))
    assert isinstance(caught.value, error)
    assert said in str(caught.value)
    assert "CANARY" not in str(caught.value)
