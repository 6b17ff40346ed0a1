"""VRTs: missing and changed sources are noticed, dangerous ones refused, thousands of them bounded."""

from __future__ import annotations

import os
import time

import pytest
from vrt_kit import SIDE, mosaic

from geoseg.errors import InputError, InputMissingError, PolicyError
from geoseg.io.raster import check_file, describe
from geoseg.io.sample import fingerprint


def test_a_good_one(tmp_path) -> None:
    assert describe(str(mosaic(tmp_path, 3, 2))).grid.shape == (2 * SIDE, 3 * SIDE)


def test_64_a_missing_source_is_named(tmp_path) -> None:
    path = mosaic(tmp_path, 2, 2)
    (tmp_path / "t2.tif").unlink()
    with pytest.raises(InputMissingError, match=r"mosaic\.vrt needs .*t2\.tif, which does not exist"):
        describe(str(path))


def test_a_missing_source_of_a_source_is_named(tmp_path) -> None:
    path = mosaic(tmp_path, 1, 1)
    outer = tmp_path / "outer.vrt"
    outer.write_text(path.read_text().replace("t0.tif", "mosaic.vrt"))
    (tmp_path / "t0.tif").unlink()
    with pytest.raises(InputMissingError, match=r"mosaic\.vrt needs .*t0\.tif"):
        describe(str(outer))


def test_65_one_that_contains_itself(tmp_path) -> None:
    path = mosaic(tmp_path, 1, 1)
    path.write_text(path.read_text().replace("t0.tif", "mosaic.vrt"))
    with pytest.raises(InputError, match="contains itself"):
        describe(str(path))


@pytest.mark.parametrize(
    ("old", "new", "error", "said"),
    [
        ('band="1">', 'band="1" subClass="VRTRawRasterBand">', PolicyError, "reads raw bytes"),
        ("<Sim", "<PixelFunctionLanguage>Python</PixelFunctionLanguage><Sim", PolicyError, "Python"),
        (">t0.tif<", ">/vsicurl/https://host/a.tif?sig=CANARY<", InputError, "has sources on a server"),
        (">t0.tif<", ">https://host/a.tif<", InputError, "has sources on a server"),
        ("</VRTDataset>", "", InputError, "damaged VRT"),
    ],
)
def test_66_what_is_refused(old, new, error, said, tmp_path) -> None:
    path = mosaic(tmp_path, 1, 1)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(error, match=said) as caught:
        check_file(str(path))
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("across", [2, 100], ids=["few: bytes", "many: size and time"])
def test_a_changed_source_changes_the_key(across, tmp_path) -> None:
    path = mosaic(tmp_path, across, 1)
    first = fingerprint(str(path))
    assert fingerprint(str(path)) == first
    source = tmp_path / "t1.tif"
    raw = bytearray(source.read_bytes())
    raw[-1] ^= 1
    source.write_bytes(raw)
    os.utime(source, ns=(time.time_ns(), time.time_ns() + 10**9))
    assert fingerprint(str(path)) != first


@pytest.mark.slow
def test_five_thousand_sources_are_described_and_fingerprinted_quickly(tmp_path) -> None:
    path = str(mosaic(tmp_path, 100, 50))
    started = time.perf_counter()
    assert describe(path).grid.shape == (50 * SIDE, 100 * SIDE)
    fingerprint(path)
    assert time.perf_counter() - started < 20
