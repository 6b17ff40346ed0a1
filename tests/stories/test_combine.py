"""`geoseg combine`: several dates, one map, by four rules; compared with the rules in words, pixel by pixel."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rasterio
from change_kit import CODES, NODATA, as_item, blobs, date, scene, scores
from cli_kit import codes_of, geoseg, names_in, states
from hypothesis import given, settings
from hypothesis import strategies as st
from rio_cogeo import cog_validate
from zone_kit import THREE

import geoseg as package
from geoseg import voting
from geoseg.errors import UsageError
from geoseg.io.class_raster import open_class_raster
from geoseg.io.combined import Votes, write_votes
from geoseg.io.record import verify_record
from geoseg.io.spool import RasterSpool
from geoseg.voting import RULES, Rule

DATES = [blobs(seed) for seed in (1, 2, 5)]
SCORES = [scores(seed, codes) for seed, codes in enumerate(DATES)]
TAKEN = ["2020-07-01", "2018-07-01", "2019-07-01"]


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("three")
    found = [scene(folder, f"s{n}", c, score=s) for n, (c, s) in enumerate(zip(DATES, SCORES, strict=True))]
    return [date(path, when) for path, when in zip(found, TAKEN, strict=True)]


def slow(rule: Rule, codes: np.ndarray, score: np.ndarray, rank: list[int]) -> tuple[np.ndarray, ...]:
    """Codes, counts and scores (row, col) by the rules in words."""
    out = np.full(codes.shape[1:], NODATA, np.uint8), np.zeros(codes.shape[1:], int), np.zeros(codes.shape[1:], int)
    for at in np.ndindex(codes.shape[1:]):
        seen = [n for n in range(len(codes)) if codes[(n, *at)] != NODATA]
        out[1][at] = len(seen)
        if not seen:
            continue
        votes = Counter(codes[(n, *at)] for n in seen)
        best = {
            "mode": lambda n: (votes[codes[(n, *at)]], n),  # noqa: B023 (used at once)
            "score": lambda n: (score[(n, *at)], n),  # noqa: B023
            "latest": lambda n: (rank[n], n),
            "priority": lambda n: -n,
        }[rule]
        winner = max(seen, key=best)
        out[0][at] = codes[(winner, *at)]
        agree = [n for n in seen if codes[(n, *at)] == out[0][at]] if rule == "mode" else [winner]
        out[2][at] = int(np.floor(np.mean([score[(n, *at)] for n in agree]) + 0.5))
    return out


@pytest.mark.parametrize("rule", RULES)
def test_a_map_its_count_and_its_scores(three, tmp_path, rule) -> None:
    out = tmp_path / "all.classes.tif"
    done = geoseg("combine", *three, "-o", out, "--by", rule, "--json")
    assert done.code == 0, done.err
    codes, counts, score = slow(rule, np.stack(DATES), np.stack(SCORES), [2, 0, 1])
    np.testing.assert_array_equal(codes_of(out), codes)
    np.testing.assert_array_equal(codes_of(tmp_path / "all.count.tif"), counts)
    np.testing.assert_array_equal(codes_of(tmp_path / "all.confidence.tif"), score)
    found = open_class_raster(out)
    assert found.scheme == THREE
    assert found.tags["GEOSEG_DATETIME"] == "2018-07-01T00:00:00Z/2020-07-01T23:59:59Z"
    told = json.loads(done.out)
    assert told["area_m2"] == {c.name: 100.0 * (codes == c.code).sum() for c in THREE.classes}
    assert told["observed_m2"] == {str(n): 100.0 * (counts == n).sum() for n in (1, 2, 3)}
    assert told["nodata_m2"] == 100.0 * (counts == 0).sum()
    assert names_in(tmp_path) == {
        "all.classes.tif", "all.classes.tif.aux.xml", "all.classes.qml", "all.count.tif", "all.confidence.tif",
        "all.classes.tif.json",
    }  # fmt: skip
    assert verify_record(tmp_path / "all.classes.tif.json") == []


def test_all_are_clouds_optimized_and_described(three, tmp_path) -> None:
    assert geoseg("combine", *three, "-o", tmp_path / "m.tif", "--by", "mode").code == 0
    for name, band in (("m.tif", "class"), ("m.count.tif", "observations"), ("m.confidence.tif", "confidence")):
        assert cog_validate(tmp_path / name)[0]
        with rasterio.open(tmp_path / name) as dataset:
            assert dataset.descriptions == (band,)
            assert dataset.dtypes == ("uint8",)


def test_again_other_rules_and_inputs_that_stay(three, tmp_path) -> None:
    call = ("combine", *three, "-o", tmp_path / "m.tif", "--by", "mode")
    first = geoseg(*call)
    before = states(tmp_path)
    second = geoseg(*call)
    assert (first.code, second.code, states(tmp_path) == before) == (0, 0, True)
    assert second.out == first.out.replace("written", "up to date")
    refused = geoseg(*call[:-1], "priority")
    assert (refused.code, 'by: "mode" → "priority"' in refused.last) == (73, True)
    refused = geoseg("combine", *three, "-o", three[0], "--by", "mode", "--overwrite")
    assert (refused.code, "is also an input" in refused.last) == (73, True)


def test_the_order_decides_ties(tmp_path) -> None:
    """Two dates that disagree everywhere."""
    one, two = (
        scene(tmp_path, name, np.full((2, 3), code), score=np.full((2, 3), 9, np.uint8))
        for name, code in (("a", 1), ("b", 2))
    )
    for rule, expected in (("mode", 2), ("score", 2), ("latest", 2), ("priority", 1)):
        same = () if rule != "latest" else ("--datetimes", "2020-01-01,2020-01-01")
        assert geoseg("combine", one, two, "-o", tmp_path / f"{rule}.tif", "--by", rule, *same).code == 0
        assert set(codes_of(tmp_path / f"{rule}.tif").flat) == {expected}


def test_time_comes_from_the_item_beside_or_from_the_user(tmp_path) -> None:
    one, two = (scene(tmp_path, name, np.full((2, 3), code)) for name, code in (("a", 1), ("b", 2)))
    call = ("combine", one, two, "-o", tmp_path / "m.tif", "--by", "latest")
    done = geoseg(*call)
    assert (done.code, str(one) in done.last, "--datetimes" in done.last) == (65, True, True)
    as_item(one, "2020-01-01T10:00:00Z")
    as_item(two, "2019-01-01T10:00:00Z")
    assert geoseg(*call).code == 0
    assert set(codes_of(tmp_path / "m.tif").flat) == {1}
    assert geoseg(*call, "--datetimes", "2018-01-01,2019-01-01", "--overwrite").code == 0
    assert set(codes_of(tmp_path / "m.tif").flat) == {2}
    assert not (tmp_path / "m.confidence.tif").exists()
    done = geoseg(*call, "--datetimes", "2018-01-01", "--overwrite")
    assert (done.code, "1 times for 2 rasters" in done.last) == (2, True)


def test_a_missing_confidence_raster_is_named(three, tmp_path) -> None:
    bare = scene(tmp_path, "bare", DATES[0])
    done = geoseg("combine", three[0], bare, "-o", tmp_path / "m.tif", "--by", "score")
    assert (done.code, str(tmp_path / "bare.confidence.tif") in done.last, "--confidence" in done.last) == (
        66,
        True,
        True,
    )


def test_one_raster_is_no_combination(three, tmp_path) -> None:
    with pytest.raises(UsageError, match="at least two"):
        package.combine(three[:1], tmp_path / "m.tif", "mode")


# The law: combine is what the rules say, whatever the bands.

stacks = st.builds(
    lambda seed, n: np.random.default_rng(seed).choice([*CODES, NODATA], (n, 5, 7)).astype(np.uint8),
    st.integers(0, 2**32 - 1),
    st.integers(1, 5),
)


def assert_as_said(folder: Path, rule: Rule, codes: np.ndarray, band_px: int) -> None:
    rng = np.random.default_rng(codes.sum())
    score = np.where(codes == NODATA, 0, rng.integers(1, 4, codes.shape)).astype(np.uint8)
    rank = rng.integers(0, 3, len(codes)).tolist()
    codes[:, 0, 0] = CODES[0]
    paths = [scene(folder, f"s{n}", c, score=s) for n, (c, s) in enumerate(zip(codes, score, strict=True))]
    rasters = tuple(open_class_raster(path) for path in paths)
    beside = tuple(path.with_name(f"s{n}.confidence.tif") for n, path in enumerate(paths))
    votes = Votes(rasters, THREE, rule, beside, tuple(rank))
    grid = votes.grid
    with (
        RasterSpool(folder / "a", grid, "uint8", 0) as a,
        RasterSpool(folder / "b", grid, "uint8", 0) as b,
        RasterSpool(folder / "c", grid, "uint8", 0) as c,
    ):
        write_votes(votes, a, b, c, band_px=band_px)
        found = [spool.read(grid.window) for spool in (a, b, c)]
    for layer, expected in zip(found, slow(rule, codes, score, rank), strict=True):
        np.testing.assert_array_equal(layer, expected)


@settings(max_examples=25)
@given(st.sampled_from(RULES), stacks, st.integers(1, 200))
def test_combining_is_what_the_rules_say_whatever_the_bands(tmp_path_factory, rule, codes, band_px) -> None:
    assert_as_said(tmp_path_factory.mktemp("law"), rule, codes, band_px)


@pytest.mark.parametrize(("rule", "face"), [("score", "_last_largest"), ("mode", "_mode")])
def test_mutation_ties_go_to_the_first_turn_it_red(tmp_path, monkeypatch, rule, face) -> None:
    """Named mutation: of equal dates the first is taken."""
    last = getattr(voting, face)

    def first(values, *more):
        return len(values) - 1 - last(values[::-1], *more)

    monkeypatch.setattr(voting, face, first)
    with pytest.raises(AssertionError):
        assert_as_said(tmp_path, rule, np.stack([layer[20:25, 30:37] for layer in DATES]), 10**6)
