"""`geoseg change`: what became what, in hectares and as polygons."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from builders import NORTH_UP, write_raster
from change_kit import CODES, NODATA, blobs, date, scene, scores
from cli_kit import FORMATS, geoseg, names_in, polygons_in, states
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize
from zone_kit import THREE, class_raster, map_total_m2, square, write_zones

import geoseg as package
from geoseg.classes import ClassScheme, LandClass
from geoseg.console import format_hectares
from geoseg.errors import InputError, UsageError
from geoseg.ground import area_model
from geoseg.io import pair_raster
from geoseg.io.class_raster import open_class_raster
from geoseg.io.pair_raster import Dates, write_pairs
from geoseg.io.record import verify_record
from geoseg.polygons.mmu_size import size_scale
from geoseg.transitions import PairCodes, TransitionTable

BEFORE, AFTER = blobs(1), blobs(2)
LONLAT = {"crs": "EPSG:4326", "transform": Affine(1e-3, 0, -75, 0, -1e-3, 60)}
NAMES = dict(zip(THREE.codes, THREE.names, strict=True))


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    before = scene(folder, "old", BEFORE, score=scores(3, BEFORE))
    after = date(scene(folder, "new", AFTER, score=scores(4, AFTER)), "2021-06-01")
    return date(before, "2018-06-01"), after


def cells(rows: list[dict]) -> dict[tuple, dict]:
    return {(row["from_id"], row["to_id"]): row for row in rows}


def by_hand(before: np.ndarray, after: np.ndarray) -> dict[tuple, int]:
    """(from, to) → pixels; None: unobserved."""
    out: dict[tuple, int] = {}
    for one, other in zip(before.ravel().tolist(), after.ravel().tolist(), strict=True):
        key = tuple(None if code == NODATA else code for code in (one, other))
        out[key] = out.get(key, 0) + 1
    return out


def test_matrix_polygons_and_files(pair, tmp_path) -> None:
    done = geoseg("change", *pair, "-o", tmp_path / "c.gpkg", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    found = cells(told["transitions"])
    expected = by_hand(BEFORE, AFTER)
    assert {key: row["pixels"] for key, row in found.items()} == expected
    assert {key: row["area_m2"] for key, row in found.items()} == {key: 100.0 * n for key, n in expected.items()}
    score = scores(3, BEFORE)[(BEFORE == 1) & (AFTER == 7)]
    assert found[1, 7]["from_score"] == pytest.approx(score.mean() / 255, rel=1e-12)
    assert (found[1, None]["to_name"], found[1, None]["to_score"]) == ("unobserved", None)
    assert found[None, 7]["from_score"] is None
    changed = (BEFORE != AFTER) & (BEFORE != NODATA) & (AFTER != NODATA)
    assert (told["changed_m2"], told["polygons_m2"]) == (100 * changed.sum(), pytest.approx(100 * changed.sum()))
    assert names_in(tmp_path) == {"c.gpkg", "c.csv", "c.gpkg.json"}
    assert verify_record(tmp_path / "c.gpkg.json") == []
    with (tmp_path / "c.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [row["from_id"] for row in lines[-1:]] == [""]
    assert sum(float(row["area_ha"]) for row in lines) == pytest.approx(BEFORE.size / 100, rel=1e-12)
    table = polygons_in(tmp_path / "c.gpkg")
    assert shapely.coverage_is_valid(table.geometry.array)
    burned = rasterize(
        zip(table.geometry, table.class_id, strict=True), BEFORE.shape, fill=0, transform=NORTH_UP, dtype="int32"
    )
    np.testing.assert_array_equal(burned, np.where(changed, BEFORE.astype(int) * 10 + AFTER, 0))
    row = table.iloc[0]
    assert (row.class_id, row.class_name) == (row.from_id * 10 + row.to_id, f"{row.from_name} → {row.to_name}")
    assert (row.from_name, row.to_name) == (NAMES[row.from_id], NAMES[row.to_id])
    assert (row.scene_id, str(row.img_date)[:10]) == ("old → new", "2021-06-01")
    component = rasterize([row.geometry], BEFORE.shape, transform=NORTH_UP).astype(bool)
    weaker = np.minimum(scores(3, BEFORE), scores(4, AFTER))[component]
    assert row.score == pytest.approx(weaker.mean() / 255, rel=1e-12)


def test_text_a_second_time_and_other_settings(pair, tmp_path) -> None:
    call = ("change", *pair, "-o", tmp_path / "c.fgb")
    first = geoseg(*call)
    before = states(tmp_path)
    second = geoseg(*call)
    assert (first.code, second.code, states(tmp_path) == before) == (0, 0, True)
    assert second.out == first.out.replace("(written)", "(up to date)")
    head = next(line for line in first.out.splitlines() if line.startswith("hectares"))
    assert head.split()[-5:] == ["water", "trees", "bare", "unobserved", "total"]
    water = next(line for line in first.out.splitlines() if line.startswith("water  "))
    expected = [((BEFORE == 1) & (code == AFTER)).sum() / 100 for code in (*CODES, NODATA)]
    assert water.split()[1:] == [format_hectares(ha) for ha in [*expected, sum(expected)]]
    assert "score before" in first.out
    refused = geoseg(*call, "--all")
    assert (refused.code, "unchanged: false → true" in refused.last) == (73, True)
    assert geoseg(*call, "--all", "--overwrite").code == 0


@pytest.mark.parametrize(
    "flags", [[], ["--mmu", "9px"], ["--mmu", "0.04ha", "--simplify", "15", "--smooth"]], ids=" ".join
)
def test_changes_are_the_same_polygons_with_and_without_the_rest(pair, tmp_path, flags) -> None:
    for name, more in (("some", []), ("all", ["--all"])):
        assert geoseg("change", *pair, "-o", tmp_path / f"{name}.fgb", *flags, *more).code == 0
    some, everything = polygons_in(tmp_path / "some.fgb"), polygons_in(tmp_path / "all.fgb")
    assert shapely.coverage_is_valid(everything.geometry.array)
    assert shapely.coverage_is_valid(some.geometry.array)
    shown = everything[everything.from_id != everything.to_id]
    assert 0 < len(shown) < len(everything)
    assert some.to_wkb().equals(shown.to_wkb())
    both = (BEFORE != NODATA) & (AFTER != NODATA)
    assert everything.n_pixels.sum() == both.sum()


def test_a_unit_takes_changes_back_and_makes_none(pair, tmp_path) -> None:
    raw = tmp_path / "raw.fgb"
    assert geoseg("change", *pair, "-o", raw).code == 0
    done = geoseg("change", *pair, "-o", tmp_path / "c.fgb", "--mmu", "12px", "--all", "--json")
    assert done.code == 0, done.err
    table = polygons_in(tmp_path / "c.fgb")
    burned = rasterize(
        zip(table.geometry, table.class_id, strict=True), BEFORE.shape, fill=0, transform=NORTH_UP, dtype="int32"
    )
    codes = np.where((BEFORE != NODATA) & (AFTER != NODATA), BEFORE.astype(int) * 10 + AFTER, 0)
    stayed = (codes // 10 == codes % 10) & (codes > 0)
    np.testing.assert_array_equal(burned[stayed], codes[stayed])
    changes = table[table.from_id != table.to_id]
    small = changes[changes.n_pixels < 12]
    # Only those whose every neighbor is unobserved may stay below the unit.
    assert len(small) < 0.05 * len(polygons_in(raw))
    assert json.loads(done.out)["changed_m2"] > json.loads(done.out)["polygons_m2"] > 0


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_has_the_pairs(pair, tmp_path, suffix) -> None:
    done = geoseg("change", *pair, "-o", tmp_path / f"c.{suffix}", "--out-crs", "EPSG:4326")
    assert done.code == 0, done.err
    table = polygons_in(tmp_path / f"c.{suffix}")
    assert set(zip(table.from_name, table.to_name, strict=True)) == {
        (NAMES[a], NAMES[b]) for a, b in by_hand(BEFORE, AFTER) if None not in (a, b) and a != b
    }
    assert (table.class_id == 10 * table.from_id + table.to_id).all()


def test_dissolved_there_is_a_row_for_each_change(pair, tmp_path) -> None:
    assert geoseg("change", *pair, "-o", tmp_path / "c.gpkg", "--dissolve").code == 0
    table = polygons_in(tmp_path / "c.gpkg")
    pixels = {(row.from_id, row.to_id): row.n_pixels for row in table.itertuples()}
    assert pixels == {k: n for k, n in by_hand(BEFORE, AFTER).items() if None not in k and k[0] != k[1]}


def test_an_aoi_counts_what_it_touches_and_cuts(pair, tmp_path) -> None:
    aoi = write_zones(tmp_path / "aoi.gpkg", {"a": square(10.5, 8.25, 50, 40)})
    done = geoseg("change", *pair, "-o", tmp_path / "c.gpkg", "--aoi", aoi, "--json")
    assert done.code == 0, done.err
    rows = np.s_[8:40, 10:50]
    expected = by_hand(BEFORE[rows], AFTER[rows])
    assert {k: row["pixels"] for k, row in cells(json.loads(done.out)["transitions"]).items()} == expected
    table = polygons_in(tmp_path / "c.gpkg")
    assert square(10.5, 8.25, 50, 40).buffer(1e-6).contains(shapely.union_all(table.geometry.array))


def test_other_grids_and_legends_are_errors_with_a_remedy(pair, tmp_path) -> None:
    shifted = scene(tmp_path, "shifted", AFTER, transform=NORTH_UP @ Affine.translation(0.5, 0))
    done = geoseg("change", pair[0], shifted, "-o", tmp_path / "c.gpkg")
    assert done.code == 65
    assert "is not on the grid of" in done.last
    assert f"geoseg segment IMAGE --grid {pair[0]} -o {tmp_path}/shifted.fitted.tif" in done.last
    warp = "gdalwarp -r near -t_srs EPSG:32618 -te 500000.0 4199400.0 500800.0 4200000.0 -ts 80 60"
    assert f"{warp} {shifted} {tmp_path}/shifted.fitted.tif" in done.last
    sand = ClassScheme((*THREE.classes[:2], LandClass(7, "sand", (1, 2, 3))))
    other = class_raster(tmp_path / "o.tif", AFTER, sand)
    done = geoseg("change", pair[0], other, "-o", tmp_path / "c.gpkg")
    assert (done.code, "'sand'" in done.last, "--legend" in done.last) == (65, True, True)
    assert names_in(tmp_path) & {"c.gpkg", "c.csv"} == set()


def test_nothing_in_common_is_told(pair, tmp_path) -> None:
    left, right = np.full((4, 6), NODATA, np.uint8), np.full((4, 6), NODATA, np.uint8)
    left[:, :3], right[:, 3:] = 1, 2
    rasters = scene(tmp_path, "a", left), scene(tmp_path, "b", right)
    done = geoseg("change", *rasters, "-o", tmp_path / "c.gpkg")
    assert (done.code, "nothing to compare" in done.last) == (65, True)
    assert not (tmp_path / "c.gpkg").exists()


def test_a_styles_legend_has_the_changes_that_are_drawn(pair, tmp_path) -> None:
    """Mutation: the scheme of all pairs of the table lists `a → a`, which no polygon has."""
    for flags in ((), ("--all",)):
        output = tmp_path / f"c{len(flags)}.shp"
        assert geoseg("change", *pair, "-o", output, *flags).code == 0
        style = ET.parse(output.with_suffix(".qml"))  # noqa: S314 (our own file)
        listed = [category.get("label") for category in style.iter("category")]
        assert sorted(listed) == sorted(set(polygons_in(output).class_name))
        assert any(one == other for one, other in (name.split(" → ") for name in listed)) == bool(flags)


def test_no_change_is_an_empty_layer(tmp_path) -> None:
    rasters = scene(tmp_path, "a", BEFORE), scene(tmp_path, "b", BEFORE)
    result = package.change(*rasters, tmp_path / "c.gpkg")
    assert (result.n_polygons, result.transitions.changed_m2, result.scored) == (0, 0, False)
    assert len(polygons_in(tmp_path / "c.gpkg")) == 0


def test_settings_about_single_classes_are_refused(pair, tmp_path) -> None:
    with pytest.raises(UsageError, match="--keep-class"):
        package.change(*pair, tmp_path / "c.gpkg", package.VectorSettings(mmu="9px", keep_class=("water",)))


def test_anyones_rasters_of_large_codes(tmp_path) -> None:
    layers = np.array([[[1, 1, 300], [300, 0, 1]], [[300, 1, 300], [1, 1, 0]]], np.uint16)
    paths = [write_raster(tmp_path / f"{n}.tif", layer, nodata=0) for n, layer in enumerate(layers)]
    result = package.change(*paths, tmp_path / "c.gpkg", unchanged=True)
    assert {(row.from_id, row.to_id): row.pixels for row in result.transitions.rows} == {
        (1, 300): 1,
        (1, 1): 1,
        (300, 300): 1,
        (300, 1): 1,
        (None, 1): 1,
        (1, None): 1,
    }
    table = polygons_in(tmp_path / "c.gpkg")
    assert table.class_id.to_dict() == {0: 1300, 1: 1001, 2: 300_300, 3: 300_001}
    assert table.from_name[0] == "class 1"


def test_codes_of_pairs_must_fit() -> None:
    def codes(largest: int) -> PairCodes:
        return PairCodes(ClassScheme((THREE.classes[0], LandClass(largest, "far", (0, 0, 0)))))

    assert codes(9999).code(9999, 1) == 99_990_001
    with pytest.raises(InputError, match="--legend"):
        codes(30_000)


# The laws: cells add up to the ground, rows to the classes of the first date.

maps = st.integers(0, 2**32 - 1).map(
    lambda seed: (
        np.random.default_rng(seed).choice([*CODES, NODATA], (2, 7, 9), p=[0.4, 0.3, 0.1, 0.2]).astype(np.uint8)
    )
)


def tabled(folder: Path, codes: np.ndarray, band_px: int, **profile: object) -> tuple[TransitionTable, list[Path]]:
    paths = [scene(folder, name, layer, **profile) for name, layer in zip("ab", codes, strict=True)]
    one, other = (open_class_raster(path) for path in paths)
    scale = size_scale(one.grid, area_model(one.grid), ())
    scheme = THREE
    _, sums = write_pairs(Dates(one, other), PairCodes(scheme), scale, folder / "p.tif", band_px=band_px)
    return TransitionTable.of(sums, scheme, scale.step_m2, scored=False), paths


def assert_adds_up(table: TransitionTable, path: Path) -> None:
    """Rows are the first date's classes; all cells together are the ground."""
    for name, m2 in map_total_m2(path).items():
        found = sum(row.area_m2 for row in table.rows if row.from_name == name)
        assert found == pytest.approx(m2, rel=1e-9)
    with rasterio.open(path) as dataset:
        assert sum(row.pixels for row in table.rows) == dataset.width * dataset.height


@settings(max_examples=15)
@given(maps, st.sampled_from([{}, LONLAT]), st.integers(1, 70))
def test_areas_add_up_whatever_the_bands(tmp_path_factory, codes, profile, band_px) -> None:
    codes[:, 0, 0] = 1
    table, paths = tabled(tmp_path_factory.mktemp("law"), codes, band_px, **profile)
    assert_adds_up(table, paths[0])
    whole, _ = tabled(paths[0].parent, codes, 10**6, **profile)
    assert table == whole


def test_mutation_the_middle_row_stands_for_all_turns_it_red(tmp_path, monkeypatch) -> None:
    """Named mutation: every pixel has the area of one in the first row of its band."""
    run_sums = pair_raster.run_sums
    monkeypatch.setattr(
        pair_raster,
        "run_sums",
        lambda v, by_row, more=(): run_sums(v, by_row if by_row is None else by_row * 0 + by_row[0], more),
    )
    table, paths = tabled(tmp_path, np.stack([BEFORE, AFTER]), 10**6, **LONLAT)
    with pytest.raises(AssertionError):
        assert_adds_up(table, paths[0])


def assert_outlines_the_changes(folder: Path, codes: np.ndarray, profile: dict) -> None:
    """The polygons are a valid coverage of exactly the ground that changed."""
    paths = [scene(folder, name, layer, **profile) for name, layer in zip("ab", codes, strict=True)]
    result = package.change(*paths, folder / "c.fgb", out=package.OutputSettings(overwrite=True))
    grid = open_class_raster(paths[0]).grid
    changed = (codes[0] != codes[1]) & (codes != NODATA).all(axis=0)
    expected = (changed.sum(axis=1) * area_model(grid).pixel_areas(grid)).sum()
    table = polygons_in(folder / "c.fgb")
    assert shapely.coverage_is_valid(table.geometry.array)
    assert table.area_m2.sum() == pytest.approx(expected, rel=1e-9)
    assert result.polygons_m2 == pytest.approx(result.transitions.changed_m2, rel=1e-9)
    assert result.transitions.changed_m2 == pytest.approx(expected, rel=1e-6)


@settings(max_examples=5)
@given(maps, st.sampled_from([{}, LONLAT]))
def test_polygons_are_a_coverage_of_what_changed(tmp_path_factory, codes, profile) -> None:
    codes[:, 0, :2] = [[1, 1], [2, 1]]
    assert_outlines_the_changes(tmp_path_factory.mktemp("law"), codes, profile)


def test_mutation_unobserved_pixels_taken_for_a_class_turn_it_red(tmp_path, monkeypatch) -> None:
    """Named mutation: what a date did not observe counts as its first class."""
    monkeypatch.setattr(
        pair_raster, "_wide", lambda codes, nodata: np.where(codes == nodata, 1, codes).astype(np.int64)
    )
    with pytest.raises(AssertionError):
        assert_outlines_the_changes(tmp_path, np.stack([BEFORE, AFTER]), {})
