"""Objects around the peaks of a class's score are what the rule says of the whole map, and no band shows in them."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from engine_kit import NODATA, class_maps, text_codes
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_objects import THINGS, Codes, Divided, finished, landcover, slow_instances
from test_survey import rows_of

from geoseg.polygons.coverage import coverage
from geoseg.polygons.objects import write_peaks
from geoseg.polygons.peaks import PeakRule, smoothed

CROWN = 1
"""The class that objects become; 2 is another thing, 0 is none."""
RULES = st.builds(
    PeakRule,
    smooth=st.integers(0, 2),
    apart=st.integers(1, 3),
    reach=st.integers(1, 4),
    least=st.sampled_from([0.0, 0.3, 0.6]),
)


def score_of(codes: Codes) -> NDArray[np.uint8]:
    """Scores with many ties, some unknown."""
    rng = np.random.default_rng(codes.size + 7 * int(codes.sum()))
    return rng.choice(np.array([0, 1, 60, 120, 180, 240, 255], np.uint8), codes.shape)


def peaked(codes: Codes, score: Codes, rule: PeakRule, band_rows: int | None = None) -> Divided:
    cover, written = landcover(codes, band_rows), np.empty(codes.shape, np.int32)

    def write(first: int, numbers: NDArray[np.int32]) -> None:
        written[first : first + len(numbers)] = numbers

    cells = write_peaks(cover, cover.are(THINGS), CROWN, rule, write, read_scores=rows_of(score))
    return finished(cover, cells, written, score)


def slow_means(score: Codes, radius: int) -> NDArray[np.int64]:
    """In steps of 1 / (255 · (radius + 1)⁴), by walking over each pixel's surroundings."""
    out = np.zeros(score.shape, np.int64)
    for row, col in np.ndindex(score.shape):
        total = weight = 0
        for y in range(max(0, row - radius), min(score.shape[0], row + radius + 1)):
            for x in range(max(0, col - radius), min(score.shape[1], col + radius + 1)):
                if score[y, x]:
                    tent = (radius + 1 - abs(y - row)) * (radius + 1 - abs(x - col))
                    total, weight = total + tent * int(score[y, x]), weight + tent
        out[row, col] = total * (radius + 1) ** 4 // max(weight, 1)
    return out


def slow_peaks(codes: Codes, score: Codes, rule: PeakRule) -> list[tuple[int, int]]:
    """In row order."""
    means, places = slow_means(score, rule.smooth), [tuple(at) for at in np.argwhere(np.isin(codes, list(THINGS)))]
    found = []
    for row, col in places:
        near = [(y, x) for y, x in places if (y - row) ** 2 + (x - col) ** 2 <= rule.apart**2]
        highest = max(near, key=lambda at: (means[at], -at[0], -at[1])) == (row, col)
        if highest and 0 < means[row, col] >= rule.least * 255 * (rule.smooth + 1) ** 4:
            found.append((row, col))
    return found


def slow_names(codes: Codes, score: Codes, rule: PeakRule) -> NDArray[np.int64]:
    """(row, col) number of the peak that each pixel is given to; -1 without one."""
    things, peaks = np.isin(codes, list(THINGS)), slow_peaks(codes, score, rule)
    names = np.full(codes.shape, -1, np.int64)
    for number, peak in enumerate(peaks):
        names[peak] = number
    for _ in range(int(np.hypot(rule.reach, rule.reach))):
        padded, before = np.pad(names, 1, constant_values=-1), names.copy()
        for row, col in np.argwhere(things & (names < 0)).tolist():
            near = {int(padded[row + y, col + x]) for y, x in ((0, 1), (1, 0), (1, 2), (2, 1))} - {-1}
            able = [name for name in near if np.hypot(peaks[name][0] - row, peaks[name][1] - col) <= rule.reach]
            before[row, col] = min(able, default=-1)
        names = before
    return names


def codes_now(found: Divided) -> NDArray[np.int64]:
    numbers = np.concatenate([p[1:, 1:-1] for _, p in found.found.painted_bands(rows_of(found.cells))])
    return np.where(numbers >= 0, np.append(found.found.components.code, NODATA)[numbers], NODATA)


@given(class_maps(most=9), st.integers(0, 4))
def test_means_are_those_of_valid_scores(codes: Codes, radius: int) -> None:
    score = score_of(codes)
    np.testing.assert_array_equal(smoothed(score, radius), slow_means(score, radius))


@settings(max_examples=60)
@given(class_maps(most=10), RULES)
def test_objects_are_those_of_the_rule(codes: Codes, rule: PeakRule) -> None:
    score = score_of(codes)
    found, names = peaked(codes, score, rule), slow_names(codes, score, rule)
    np.testing.assert_array_equal(found.instances, slow_instances(names))
    np.testing.assert_array_equal(codes_now(found), np.where(names >= 0, CROWN, codes))


@settings(max_examples=80)
@given(class_maps(most=16), st.integers(1, 16), RULES)
def test_no_band_shows_in_objects_around_peaks(codes: Codes, rows: int, rule: PeakRule) -> None:
    """Ids and shapes are equal for every cut into bands; the mutations below turn it red."""
    score = score_of(codes)
    whole, banded = peaked(codes, score, rule), peaked(codes, score, rule, rows)
    np.testing.assert_array_equal(banded.instances, whole.instances)
    assert banded.rings() == whole.rings()


@given(class_maps(most=12), RULES, st.integers(1, 9))
def test_every_object_is_one_polygon_of_a_valid_coverage(codes: Codes, rule: PeakRule, rows: int) -> None:
    found = peaked(codes, score_of(codes), rule, rows)
    geometry = np.concatenate([b.geometry() for b in coverage(rows_of(found.cells), found.found)])
    assert shapely.coverage_is_valid(geometry)
    assert shapely.area(geometry).sum() == (codes != NODATA).sum()
    assert len(geometry) == len(found.found.components)
    assert found.instances.max(initial=0) == len(slow_peaks(codes, score_of(codes), rule))


@given(class_maps(most=12), RULES, st.integers(0, 5), st.integers(0, 5))
def test_objects_move_with_the_map(codes: Codes, rule: PeakRule, down: int, right: int) -> None:
    """Numbers repeat on a lattice that lies still; nothing of it is seen in the objects."""
    around = ((down, 2), (right, 1))
    moved = peaked(np.pad(codes, around, constant_values=NODATA), np.pad(score_of(codes), around), rule)
    back = moved.instances[down : down + len(codes), right : right + codes.shape[1]]
    np.testing.assert_array_equal(back, peaked(codes, score_of(codes), rule).instances)


def test_two_crowns_by_hand() -> None:
    """Peaks at columns 2 and 7 of a canopy of tree (1) and other green (2); the last column is beyond both."""
    codes = text_codes("0222112221120 2222112221122")
    score = np.array([[1, 1, 200, 90, 60, 60, 90, 220, 90, 1, 1, 1, 1], [1] * 13], np.uint8)
    found = peaked(codes, score, PeakRule(smooth=0, apart=3, reach=3, least=0.5))
    assert found.instances.tolist() == [
        [0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0, 0],
        [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 0, 0, 0],
    ]
    after = "0111111111120 1111111111122"
    np.testing.assert_array_equal(codes_now(found), text_codes(after))


def test_a_crown_is_a_disc_where_nothing_is_in_its_way() -> None:
    score = np.ones((15, 15), np.uint8)
    score[7, 7] = 255
    found = peaked(np.ones_like(score), score, PeakRule(smooth=0, apart=20, reach=6, least=0.9))
    rows, cols = np.mgrid[:15, :15]
    np.testing.assert_array_equal(found.instances, np.hypot(rows - 7, cols - 7) <= 6)


COLUMN = np.ones((400, 1), np.uint8)
NEAR = PeakRule(smooth=1, apart=2, reach=1, least=0.0)


def banded_is_whole(seed: int) -> bool:
    score = np.random.default_rng(seed).integers(1, 256, COLUMN.shape).astype(np.uint8)
    whole, parts = peaked(COLUMN, score, NEAR), peaked(COLUMN, score, NEAR, 1)
    return bool((whole.instances == parts.instances).all())


def test_mutation_a_row_too_few_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named mutation: one row less than rounds + apart + smooth is known around a stretch."""
    seeds = range(6)
    assert all(map(banded_is_whole, seeds))
    less = NEAR.halo - 1
    monkeypatch.setattr(PeakRule, "halo", property(lambda _: less))
    assert not all(map(banded_is_whole, seeds))


def test_mutation_a_lattice_too_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named mutation: numbers repeat every 2 · reach + 1 pixels, so neighbors may have one number."""
    codes, score = np.ones((1, 12), np.uint8), np.ones((1, 12), np.uint8)
    score[0, [2, 9]] = 200
    rule = PeakRule(smooth=0, apart=3, reach=3, least=0.5)
    assert peaked(codes, score, rule).instances.max() == 2
    monkeypatch.setattr(PeakRule, "period", property(lambda rule: 2 * rule.reach + 1))
    assert peaked(codes, score, rule).instances.max() == 1
