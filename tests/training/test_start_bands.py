"""Bands by name: whose weights, and whose normalization."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.model.normalize import normalize
from geoseg.model.spec import Band
from geoseg.training import start_bands
from geoseg.training.start_bands import FAMILIES, keep_normalization, mix_bands

RGBN = ("blue", "green", "red", "nir")
NAMES = sorted({name for family in FAMILIES for name in family} | {"red", "pan", "thermal", "b7"})


@pytest.mark.parametrize(
    ("start", "wanted", "matrix", "said"),
    [
        (RGBN, RGBN, np.eye(4), ()),
        (RGBN, ("nir", "blue"), [[0, 0, 0, 1], [1, 0, 0, 0]], ()),
        (RGBN, ("red", "rededge071"), [[0, 0, 1, 0], [0, 0, 0, 1]], ("rededge071 from nir",)),
        (("nir", "swir16"), ("swir22", "nir08"), [[0, 1], [1, 0]], ("swir22 from swir16", "nir08 from nir")),
        # The nearest by wavelength: 783 nm is nearer to 842 than to 705.
        (
            ("rededge071", "nir"),
            ("rededge075", "rededge078"),
            [[1, 0], [0, 1]],
            ("rededge075 from rededge071", "rededge078 from nir"),
        ),
        # What nobody uses goes to the nearest, too.
        (
            ("red", "rededge071", "rededge078", "nir", "swir16"),
            ("red", "nir_narrow"),
            [[1, 0, 0, 0, 0], [0, 1, 1, 1, 0]],
            ("nir_narrow from rededge071 + rededge078 + nir",),
        ),
        # What several use is shared.
        (
            ("red", "nir"),
            ("nir", "nir08", "red"),
            [[0, 0.5], [0, 0.5], [1, 0]],
            ("nir from 0.5·nir", "nir08 from 0.5·nir"),
        ),
        # A stranger stands in for those that nobody uses …
        (("red", "green", "blue"), ("red", "pan"), [[1, 0, 0], [0, 1, 1]], ("pan from green + blue",)),
        (("red", "green", "blue"), ("pan",), [[1, 1, 1]], ("pan from red + green + blue",)),
        (("red", "blue"), ("b1", "b2"), [[0.5, 0.5]] * 2, ("b1 from 0.5·red + 0.5·blue", "b2 from 0.5·red + 0.5·blue")),
        # … or for the mean of all: (1 + 1/2) · 2/3 = 1.
        (
            ("red", "nir"),
            ("red", "nir", "pan"),
            [[2 / 3, 0], [0, 2 / 3], [1 / 3, 1 / 3]],
            ("red from 0.67·red", "nir from 0.67·nir", "pan from 0.33·red + 0.33·nir"),
        ),
        (("red", "nir"), ("red@1", "red@2", "nir@2"), [[0.5, 0], [0.5, 0], [0, 1]], None),
    ],
)
def test_shares_by_hand(start, wanted, matrix, said) -> None:
    mix = mix_bands(start, wanted)
    np.testing.assert_allclose(mix.matrix, matrix, atol=1e-15)
    assert said is None or mix.said == said


def assert_nothing_is_lost(start: list[str], wanted: list[str]) -> None:
    """What is the same in all bands passes as before, unless a band is gone that nobody replaces."""
    shares = mix_bands(start, wanted).matrix.sum(axis=0)
    gone = shares == 0
    np.testing.assert_allclose(shares[~gone], 1)
    if gone.any():
        assert not set(wanted) & {start[number] for number in np.flatnonzero(gone)}
        assert not set(wanted) & {"pan", "thermal", "b7"} - set(start)
        families = [family for family in FAMILIES if set(wanted) & set(family)]
        assert not any(start[number] in family for number in np.flatnonzero(gone) for family in families)


BAND_SETS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=8, unique=True)


@given(BAND_SETS, BAND_SETS)
def test_no_weight_is_lost(start, wanted) -> None:
    assert_nothing_is_lost(start, wanted)


def test_the_law_of_weights_fails_when_relatives_do_not_share(monkeypatch) -> None:
    """The mutation: a band's weights are copied to each that uses them, whole."""
    mix = start_bands.mix_bands

    def greedy(start, wanted):
        found = mix(start, wanted)
        return replace(found, matrix=np.ceil(found.matrix))

    monkeypatch.setitem(globals(), "mix_bands", greedy)
    with pytest.raises(AssertionError):
        assert_nothing_is_lost(["red", "nir"], ["nir", "nir08"])


def band(name: str, mean: float, std: float, **more) -> Band:
    return Band(name=name, mean=mean, std=std, **more)


def test_known_bands_are_normalized_as_there_and_described_as_here() -> None:
    here = band("nir", 0.3, 0.1, optional=True, plausible=(-1, 2), quantiles=(0.1, 0.3, 0.5))
    there = band("nir", 2.0, 0.5, scale=10.0, offset=0.25, curve="log_sigmoid", quantiles=(0.0, 0.2, 0.6))
    result = keep_normalization([here], {"nir": there})
    (found,) = result.bands
    assert (found.mean, found.std, found.scale, found.offset, found.curve) == (2.0, 0.5, 10.0, 0.25, "log_sigmoid")
    assert (found.optional, found.plausible, found.quantiles) == (True, (-1, 2), (0.1, 0.3, 0.5))
    assert (result.kept, result.warnings) == (("nir",), ())


def test_an_unknown_band_enters_as_large_as_the_known_ones() -> None:
    """Red has mean 0.1 and deviation 0.05 here, nir 0.4 and 0.1; there they are divided by 1, as DN / 10 000."""
    fresh = [band("red", 0.1, 0.05), band("nir", 0.4, 0.1), band("thermal", 300, 20)]
    known = {"red": band("red", 0, 1), "nir": band("nir", 0, 1)}
    bands = keep_normalization(fresh, known).bands
    pixels = np.array([0.1, 0.4, 300, 0.15, 0.5, 320], np.float32).reshape(2, 3, 1).transpose(1, 0, 2)
    inputs = normalize(pixels, bands)
    np.testing.assert_allclose(inputs[:, 0, 0], [0.1, 0.4, 0.25], rtol=1e-5)  # the mean: (0.1 + 0.4) / 2
    np.testing.assert_allclose(inputs[:, 1, 0] - inputs[:, 0, 0], [0.05, 0.1, 0.075], rtol=1e-5)


def test_an_offset_is_in_the_units_of_the_data() -> None:
    """Surface reflectance for weights that know the top of the atmosphere in DN of 1/10 000."""
    there = band("blue", 2.0, 0.5, scale=1e4, offset=7.0, curve="log_sigmoid")
    (found,) = keep_normalization([band("blue", 0.1, 0.1, offset=0.06)], {"blue": there}).bands
    assert (found.scale, found.offset) == (1e4, 607.0)
    pixel = np.array([0.1], np.float32).reshape(1, 1, 1)
    np.testing.assert_allclose(normalize(pixel, [found]), normalize(pixel + 0.06, [there]), rtol=1e-6)


def test_without_known_bands_nothing_changes() -> None:
    fresh = (band("b1", 5, 2), band("b2", 7, 3))
    result = keep_normalization(fresh, {"red": band("red", 0, 1)})
    assert (result.bands, result.kept) == (fresh, ())


@pytest.mark.parametrize(("median", "strange"), [(0.2, False), (-0.3, False), (0.9, False), (1.1, True), (2000, True)])
def test_data_unlike_the_starts_are_told(median, strange) -> None:
    here = band("nir", 0, 1, quantiles=(median, median, median))
    there = band("nir", 0, 1, quantiles=(0.0, 0.2, 0.5))
    warnings = keep_normalization([here], {"nir": there}).warnings
    assert bool(warnings) is strange
    assert all("restandardize" in text and "nir" in text for text in warnings)
