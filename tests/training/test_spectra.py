"""Bands that are missing, estimated from others."""

from __future__ import annotations

import csv
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spectra_kit import TEN, TWENTY, pixels_of, spectra_of

from geoseg.model.import_dynamicworld import BANDS
from geoseg.model.normalize import normalize
from geoseg.model.spec import Band
from geoseg.training import spectra
from geoseg.training.spectra import estimate, typical_spectra

CURVED = {name: Band(name=name, scale=1e4, mean=low, std=high, curve="log_sigmoid") for name, low, high in BANDS}
RED_EDGE = ("rededge071", "rededge075", "rededge078")
SCENES = ("virginia_s2_l1c", "brandenburg_s2_osm")


def test_the_table_is_what_its_maker_makes(shared) -> None:
    means, counts = spectra_of([shared / name for name in SCENES])
    columns, pixels = typical_spectra()
    # k-means in other versions of its libraries may cut otherwise: what matters is the weighted distribution.
    assert pixels.sum() == counts.sum()
    for column, name in zip(means.T, (*TEN, *TWENTY), strict=True):
        assert np.average(columns[name], weights=pixels) == pytest.approx(np.average(column, weights=counts), rel=1e-3)


@pytest.mark.parametrize("name", RED_EDGE)
@pytest.mark.parametrize("scene", SCENES)
def test_red_edge_of_real_pixels(shared, scene, name) -> None:
    """Dynamic World's own inputs, estimated from blue, green, red and nir, against its near infrared in their place.

    That is far off at 705 nm, not so far at 740 and 783 nm.
    """
    values = dict(zip((*TEN, *TWENTY), pixels_of(shared / scene).astype(np.float32).T, strict=True))
    seen = {band: normalize(values[band][None], [CURVED[band]])[0].astype(float) for band in (*TEN, name)}
    found = estimate(CURVED[name], [CURVED[band] for band in TEN])
    assert found is not None
    guess = found.shares @ np.stack([seen[band] for band in TEN]) + found.constant
    spread = seen[name].var()
    assert 1 - np.mean((seen[name] - guess) ** 2) / spread > 0.85
    relative = 0.5 if name == "rededge071" else 1.0
    assert np.mean((seen[name] - guess) ** 2) < relative * np.mean((seen[name] - seen["nir"]) ** 2)


def assert_the_same_in_reflectance(level: float, size: float, other_level: float, other_size: float) -> None:
    """However the inputs are normalized."""
    plain = [Band(name=name, mean=0, std=1) for name in (*TEN, "rededge075")]
    scaled = [Band(name=name, mean=level, std=size) for name in TEN]
    wanted = Band(name="rededge075", mean=other_level, std=other_size)
    columns, _ = typical_spectra()
    stack = np.stack([columns[name] for name in TEN])
    one, two = estimate(plain[-1], plain[:-1]), estimate(wanted, scaled)
    assert one is not None
    assert two is not None
    there = two.shares @ ((stack - level) / size) + two.constant
    np.testing.assert_allclose(there * other_size + other_level, one.shares @ stack + one.constant, atol=1e-4)


@given(level=st.floats(-1, 1), size=st.floats(0.05, 2), other_level=st.floats(-1, 1), other_size=st.floats(0.05, 2))
def test_linear_normalization_changes_the_words_not_the_estimate(level, size, other_level, other_size) -> None:
    assert_the_same_in_reflectance(level, size, other_level, other_size)


def test_mutation_no_constant(monkeypatch) -> None:
    whole = estimate
    monkeypatch.setitem(globals(), "estimate", lambda missing, given: whole(missing, given, constant=False))
    with pytest.raises(AssertionError):
        assert_the_same_in_reflectance(0.5, 1.0, -0.5, 1.0)


def test_a_band_that_is_there_is_itself() -> None:
    """Under its other name, so that it counts as missing."""
    found = estimate(Band(name="nir_narrow", mean=0.2, std=0.1), [Band(name=n, mean=0, std=1) for n in (*TEN, "nir08")])
    assert found is not None
    np.testing.assert_allclose(found.shares, [0, 0, 0, 0, 10], atol=1e-3)
    assert found.constant == pytest.approx(-2, abs=1e-3)
    assert found.r2 == pytest.approx(1, abs=1e-6)


def test_what_is_not_known_is_not_made_up() -> None:
    bands = [Band(name=name, mean=0, std=1) for name in ("red", "nir", "thermal", "pan")]
    assert estimate(Band(name="rededge071", mean=0, std=1), bands) is None  # two known bands are too few
    three = [*bands, Band(name="green", mean=0, std=1)]
    assert estimate(Band(name="thermal", mean=0, std=1), three) is None
    found = estimate(Band(name="rededge071", mean=0, std=1), three)
    assert found is not None
    assert found.shares[2] == found.shares[3] == 0
    assert (found.shares[[0, 1, 4]] != 0).all()


def test_large_clusters_count_more(monkeypatch) -> None:
    columns, pixels = typical_spectra()
    bands, wanted = [Band(name=name, mean=0, std=1) for name in TEN], Band(name="rededge071", mean=0, std=1)
    as_is = estimate(wanted, bands)
    heavy = np.where(np.arange(len(pixels)) == 3, 1e9, pixels)
    monkeypatch.setattr(spectra, "typical_spectra", lambda: (columns, heavy))
    found = estimate(wanted, bands)
    assert as_is is not None
    assert found is not None
    stack = np.array([columns[name][3] for name in TEN])
    errors = [abs(each.shares @ stack + each.constant - columns["rededge071"][3]) for each in (as_is, found)]
    assert errors[1] < errors[0]


def test_the_table_is_whole() -> None:
    text = resources.files("geoseg.training").joinpath("spectra.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert set(rows[0]) == {*TEN, *TWENTY, "pixels"}
    assert all(0 < float(row[name]) < 1 for row in rows for name in (*TEN, *TWENTY))
