"""`--things` and `--split` through the command line: polygons, instance raster, class raster and record agree."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from builders import write_raster
from cli_kit import CLASSES, FORMATS, codes_of, geoseg, names_in, polygons_in
from rio_cogeo import cog_validate
from scipy import ndimage
from zone_kit import class_raster

from geoseg.classes import ClassScheme, LandClass
from geoseg.io.record import verify_record
from geoseg.polygons import survey
from geoseg.settings import VectorSettings
from geoseg.stories import objects

PARCELS = ClassScheme(
    (
        LandClass(0, "other", (90, 90, 90)),
        LandClass(1, "field", (230, 200, 40), thing=True),
        LandClass(2, "boundary", (250, 250, 250)),
    )
)
COLUMNS = ["inst_id", "min_x", "min_y", "max_x", "max_y"]


def parcel_codes(height: int = 120, width: int = 150) -> np.ndarray:
    """Parcels on a crooked lattice, lines two pixels wide between them, waste land and a hole without data."""
    rng = np.random.default_rng(7)
    seeds = rng.random((40, 2)) * (height, width)
    rows, cols = np.mgrid[:height, :width]
    away = np.hypot(rows[..., None] - seeds[:, 0], cols[..., None] - seeds[:, 1])
    nearest, two = away.argmin(axis=-1), np.sort(away, axis=-1)[..., :2]
    codes = np.where(np.diff(two)[..., 0] < 2.5, 2, 1)
    codes[nearest % 7 == 0] = 0
    codes[40:52, 60:80] = 255
    return codes.astype(np.uint8)


@pytest.fixture(scope="module")
def parcels(tmp_path_factory) -> Path:
    return class_raster(tmp_path_factory.mktemp("parcels") / "scene.classes.tif", parcel_codes(), PARCELS)


def vectorized(raster: Path, out: Path, *flags: str) -> gpd.GeoDataFrame:
    done = geoseg("vectorize", raster, "-o", out, "--instances-out", out.with_suffix(".tif"), *flags, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["instances"] == str(out.with_suffix(".tif"))
    return polygons_in(out)


def assert_agree(table: gpd.GeoDataFrame, instances: Path, codes: np.ndarray, things: set[int]) -> None:
    """Polygons, instance raster and class raster say the same."""
    ids = codes_of(instances)
    own = table[table.inst_id.notna() & (table.inst_id > 0)]
    assert sorted(own.inst_id) == list(range(1, ids.max() + 1))
    assert (np.isin(codes, list(things)) == (ids > 0)).all()
    first = np.unique(ids[ids > 0], return_index=True)[1]
    assert (np.diff(np.flatnonzero(ids.ravel())[first]) > 0).all()  # numbered by first pixel
    for poly_id, row in own.iterrows():
        there = ids == row.inst_id
        assert np.flatnonzero(there)[0] == poly_id
        assert there.sum() == row.n_pixels
        assert set(codes[there]) == {row.class_id}
        assert ndimage.label(there)[1] == 1
    boxes = table[["min_x", "min_y", "max_x", "max_y"]].to_numpy()
    np.testing.assert_array_equal(boxes, shapely.bounds(table.geometry.values))
    with rasterio.open(instances) as dataset:
        assert (dataset.dtypes, dataset.nodata, dataset.overviews(1) is not None) == (("int32",), 0, True)
    assert cog_validate(instances, strict=True)[0]


def test_fields_take_the_boundary_between_them(parcels, tmp_path) -> None:
    done = geoseg("vectorize", parcels, "-o", tmp_path / "a.gpkg", "--split", "boundary:boundary", "--json")
    assert done.code == 0, done.err
    flags = ("--split", "boundary:boundary", "--raster-out", str(tmp_path / "b_classes.tif"))
    table = vectorized(parcels, tmp_path / "b.gpkg", *flags)
    codes, before = codes_of(tmp_path / "b_classes.tif"), parcel_codes()
    assert_agree(table, tmp_path / "b.tif", codes, {1})
    assert ((before == 2) & (codes == 1)).sum() > 0.9 * (before == 2).sum()
    assert (codes[before != 2] == before[before != 2]).all()
    assert shapely.coverage_is_valid(table.geometry.values)
    (change,) = json.loads(done.out)["changed"]
    assert (change["before"], change["after"]) == ("boundary", "field")
    assert change["area_m2"] == 100 * ((before == 2) & (codes == 1)).sum()
    kept = vectorized(parcels, tmp_path / "kept.gpkg")
    assert kept.inst_id.max() == table.inst_id.max() == ndimage.label(before == 1)[1]


def test_the_unit_leaves_no_sliver_beside_objects(parcels, tmp_path, monkeypatch) -> None:
    """Lines that reach into waste land are cut by the fields; the named mutation leaves the pieces as they are."""
    before, out = parcel_codes(), str(tmp_path / "a_classes.tif")
    flags = ("--split", "boundary:boundary", "--split-radius", "3px", "--mmu", "30px", "--simplify", "15")
    table = vectorized(parcels, tmp_path / "a.gpkg", *flags, "--raster-out", out)
    codes, smaller = codes_of(Path(out)), table[table.n_pixels < 30]
    assert len(smaller) == smaller.inst_id.notna().sum()
    assert ((codes_of(tmp_path / "a.tif") > 0) == (codes == 1)).all()
    assert (np.isin(codes, [0, 1, 2]) == (before != 255)).all()
    assert shapely.coverage_is_valid(table.geometry.values)
    assert table.n_pixels.sum() == (before != 255).sum()
    monkeypatch.setattr(objects, "_without_slivers", lambda regions, found, *_: (regions, found))
    left = vectorized(parcels, tmp_path / "left.gpkg", *flags)
    assert ((left.n_pixels < 30) & left.inst_id.isna()).any()
    assert left.inst_id.max() == table.inst_id.max() == codes_of(tmp_path / "a.tif").max()


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_holds_the_columns(parcels, tmp_path, suffix) -> None:
    table = vectorized(parcels, tmp_path / f"a.{suffix}", "--split", "watershed")
    assert set(COLUMNS) <= set(table.columns)
    assert table.inst_id[table.class_id != 1].isna().all()
    assert table.inst_id[table.class_id == 1].notna().all()
    assert verify_record(tmp_path / f"a.{suffix}.json") == []


def test_without_things_nothing_changes(parcels, tmp_path) -> None:
    assert geoseg("vectorize", parcels, "-o", tmp_path / "a.gpkg", "--things", "none").code == 0
    assert not set(COLUMNS) & set(polygons_in(tmp_path / "a.gpkg").columns)


def test_dissolved_classes_are_no_objects(parcels, tmp_path) -> None:
    table = vectorized(parcels, tmp_path / "a.gpkg", "--dissolve")
    assert len(table) == 3
    assert not set(COLUMNS) & set(table.columns)
    assert codes_of(tmp_path / "a.tif").max() == ndimage.label(parcel_codes() == 1)[1]


@pytest.mark.parametrize("more", [("watershed",), ("boundary:boundary",), ("boundary:boundary", "--mmu", "30px")])
def test_no_band_shows_in_files(parcels, tmp_path, monkeypatch, more) -> None:
    """Numbers, shapes and bytes of the instance raster are equal for every height of bands."""
    flags = ("--split-radius", "9px", "--split", *more)
    whole = vectorized(parcels, tmp_path / "whole.gpkg", *flags)
    for rows in (1, 7, 64):
        monkeypatch.setattr(survey, "BAND_PX", rows * 150)
        banded = vectorized(parcels, tmp_path / f"bands{rows}.gpkg", *flags)
        assert banded.drop(columns="geometry").equals(whole.drop(columns="geometry"))
        assert shapely.equals_identical(banded.geometry.values, whole.geometry.values).all()
        assert (tmp_path / f"bands{rows}.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


def crowns() -> np.ndarray:
    """Discs that touch in pairs."""
    rows, cols = np.mgrid[:60, :90]
    codes = np.zeros((60, 90), np.uint8)
    for row, col, radius in ((15, 15, 9), (15, 30, 8), (42, 20, 11), (40, 60, 12), (44, 78, 8)):
        codes[np.hypot(rows - row, cols - col) <= radius] = 1
    return codes


def test_crowns_are_told_apart_by_distance_and_by_scores(tmp_path) -> None:
    raster = write_raster(tmp_path / "scene.classes.tif", crowns(), nodata=255)
    table = vectorized(raster, tmp_path / "a.gpkg", "--things", "1", "--split", "watershed", "--split-depth", "1px")
    assert_agree(table, tmp_path / "a.tif", crowns(), {1})
    assert table.inst_id.max() == 5
    one = vectorized(raster, tmp_path / "b.gpkg", "--things", "1", "--split", "watershed", "--split-depth", "200m")
    assert one.inst_id.max() == ndimage.label(crowns())[1] == 3
    rows, cols = np.mgrid[:60, :90]
    peaks = [np.hypot(rows - 15, cols - 15), np.hypot(rows - 15, cols - 30), np.hypot(rows - 40, cols - 60)]
    scores = np.clip(250 - 12 * np.min(peaks, axis=0), 1, 255).astype(np.uint8)
    write_raster(tmp_path / "scene.confidence.tif", scores, nodata=0)
    table = vectorized(raster, tmp_path / "c.gpkg", "--things", "1", "--split", "scores")
    assert_agree(table, tmp_path / "c.tif", crowns(), {1})
    assert table.inst_id.max() == 4
    ids = codes_of(tmp_path / "c.tif")
    for row in table[table.inst_id > 0].itertuples():
        assert row.score == scores[ids == row.inst_id].sum(dtype=int) / (255 * row.n_pixels)


@pytest.mark.parametrize("shaping", [("--simplify", "25"), ("--smooth",), ("--max-vertices", "20"), ("--mmu", "9px")])
@pytest.mark.parametrize("split", ["watershed", "boundary:boundary"])
def test_shaped_objects_are_a_valid_coverage(parcels, tmp_path, shaping, split) -> None:
    table = vectorized(parcels, tmp_path / "a.gpkg", "--split", split, *shaping)
    assert shapely.is_valid(table.geometry.values).all()
    assert shapely.coverage_is_valid(table.geometry.values)
    ids = codes_of(tmp_path / "a.tif")
    assert set(table.inst_id.dropna()) == set(np.unique(ids[ids > 0]))
    assert (table.groupby(level=0).inst_id.nunique(dropna=False) == 1).all()


def test_an_area_of_interest_cuts_objects(parcels, tmp_path) -> None:
    with rasterio.open(parcels) as dataset:
        corner = dataset.transform @ (33.5, 20.25)
    area = shapely.Point(corner).buffer(300)
    gpd.GeoDataFrame(geometry=[area], crs="EPSG:32618").to_file(tmp_path / "aoi.gpkg")
    table = vectorized(parcels, tmp_path / "a.gpkg", "--aoi", str(tmp_path / "aoi.gpkg"), "--split", "watershed")
    assert shapely.area(shapely.difference(table.geometry.values, area)).max() < 0.01 * area.length
    assert codes_of(tmp_path / "a.tif").max() == table.inst_id.max()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--things", "sea"), "--things 'sea' is no class"),
        (("--split", "magic"), "--split 'magic' is none of"),
        (("--split", "boundary"), "--split 'boundary' is none of"),
        (("--split", "boundary:sea"), "--split boundary: 'sea' is no class"),
        (("--split", "boundary:field"), "that class is itself a thing"),
        (("--split-radius", "3px"), "nothing to act on with --split components"),
        (("--split", "watershed", "--split-radius", "3"), "--split-radius '3' is no length"),
        (("--split", "watershed", "--split-radius", "9000px"), "takes at most 512"),
        (("--split", "scores"), "needs a confidence raster"),
        (("--split", "scores", "--split-depth", "3px"), "a part of the score"),
        (("--split", "watershed", "--dissolve"), "--dissolve joins the objects"),
        (("--things", "none", "--instances-out", "{}/x.tif"), "no class is a thing"),
        (("--instances-out", "x.png"), "must be a .tif of its own"),
    ],
)
def test_refusals_are_one_line(parcels, tmp_path, flags, says) -> None:
    flags = [flag.format(tmp_path) for flag in flags]
    done = geoseg("vectorize", parcels, "-o", tmp_path / "a.gpkg", *flags)
    assert (done.code, says in done.last) == (2, True), done.err
    assert names_in(tmp_path) <= {".a.gpkg.lock"}


def test_a_split_without_things_is_refused(tmp_path) -> None:
    raster = write_raster(tmp_path / "map.tif", crowns(), nodata=255)
    done = geoseg("vectorize", raster, "-o", tmp_path / "a.gpkg", "--split", "watershed")
    assert (done.code, "name some with --things" in done.last) == (2, True)


def test_run_writes_the_panoptic_pair(piece, model, tmp_path) -> None:
    call = ["run", piece, "-o", tmp_path, "-m", model, "--confidence", "--things", "trees,built"]
    flags = ["--split", "boundary:bare", "--mmu", "4px", "--format", "gpkg,parquet"]
    done = geoseg(*call, *flags, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    codes, table = codes_of(tmp_path / "piece.classes.tif"), polygons_in(tmp_path / "piece.polygons.gpkg")
    assert_agree(table, tmp_path / "piece.instances.tif", codes, {2, 3})
    assert result["instances"] == str(tmp_path / "piece.instances.tif")
    for land in CLASSES.classes:
        own = table[table.class_id == land.code]
        assert result["summary"]["pixels"][land.name] == own.n_pixels.sum() == (codes == land.code).sum()
        assert result["summary"]["area_m2"][land.name] == own.area_m2.sum()
    raw = codes_of(tmp_path / "piece.raw.tif")
    assert sum(c["area_m2"] for c in result["changed"]) >= (codes != raw).sum() * 100 > 0
    item = json.loads((tmp_path / "piece.json").read_text())
    assert "panoptic pair" in item["assets"]["instances"]["title"]
    assert verify_record(tmp_path / "piece.json") == []
    again = geoseg(*call, *flags)
    assert (again.code, "up to date" in again.out) == (0, True)
    other = geoseg(*call, *flags, "--split-radius", "2px")
    assert (other.code, "--overwrite" in other.last) == (73, True)
    plain = geoseg(*call, "--overwrite")
    assert plain.code == 0, plain.err
    assert "piece.raw.tif" not in names_in(tmp_path)
    assert codes_of(tmp_path / "piece.instances.tif").max() == sum(
        ndimage.label(codes_of(tmp_path / "piece.classes.tif") == code)[1] for code in (2, 3)
    )


def test_scores_that_nobody_asked_for_are_missed_before_any_work(piece, model, tmp_path) -> None:
    done = geoseg("run", piece, "-o", tmp_path / "out", "-m", model, "--things", "trees", "--split", "scores")
    assert (done.code, "--confidence" in done.last) == (2, True)
    assert not (tmp_path / "out").exists()


def test_a_legend_makes_things(parcels, tmp_path) -> None:
    rows = [{"code": 1, "name": "Feld", "thing": True, "from": ["field"]}]
    rows += [{"code": 9, "name": "Rest", "from": ["other", "boundary"]}]
    (tmp_path / "legend.yaml").write_text(json.dumps({"classes": rows}))
    table = vectorized(parcels, tmp_path / "a.gpkg", "--legend", str(tmp_path / "legend.yaml"))
    assert table.inst_id.max() == ndimage.label(parcel_codes() == 1)[1]


PARK = ClassScheme(
    (
        LandClass(1, "other", (217, 212, 199)),
        LandClass(2, "vegetation", (159, 207, 138)),
        LandClass(3, "tree", (31, 107, 48)),
    )
)
PEAKS = ((20, 20), (20, 34), (60, 25), (58, 70), (66, 82))


def park(folder: Path) -> Path:
    """A lawn with five trees whose scores have a hill each; two of them are not the winner anywhere."""
    rows, cols = np.mgrid[:90, :110]
    away = np.stack([np.hypot(rows - row, cols - col) for row, col in PEAKS])
    hill = np.clip(230 - 20 * away, 20, None)
    hill[3:] = np.minimum(hill[3:], 110)
    tree = hill.max(axis=0)
    codes = np.where(np.hypot(rows - 45, cols - 50) < 50, np.where(tree > 125, 3, 2), 1)
    codes[:4] = 255
    tree[codes == 1] = 3
    bands = np.stack([np.where(codes == 1, 240, 10), 255 - tree, tree]).astype(np.uint8)
    bands[:, codes == 255] = 0
    raster = class_raster(folder / "scene.classes.tif", codes.astype(np.uint8), PARK)
    with rasterio.open(raster) as dataset:
        profile = dataset.profile | {"count": 3, "nodata": 0, "dtype": "uint8", "photometric": "minisblack"}
    with rasterio.open(folder / "scene.probabilities.tif", "w", **profile) as dataset:
        dataset.write(bands)
        dataset.descriptions = PARK.names
    return raster


CROWNS = ("--things", "tree,vegetation", "--split", "scores:tree", "--split-radius", "9px", "--split-score", "0.35")


def test_crowns_stand_around_the_peaks_of_a_score(tmp_path) -> None:
    raster = park(tmp_path)
    before = codes_of(raster)
    table = vectorized(raster, tmp_path / "a.gpkg", *CROWNS, "--raster-out", str(tmp_path / "a_classes.tif"))
    ids, codes = codes_of(tmp_path / "a.tif"), codes_of(tmp_path / "a_classes.tif")
    assert sorted(ids[row, col] for row, col in PEAKS) == [1, 2, 3, 4, 5] == list(range(1, ids.max() + 1))
    assert (codes[ids > 0] == 3).all()
    assert (codes[ids == 0] == before[ids == 0]).all()
    assert (before[ids > 0] == 2).any()
    own = table[table.inst_id.notna()]
    assert sorted(own.inst_id) == [1, 2, 3, 4, 5]
    assert set(own.class_name) == {"tree"}
    for poly_id, row in own.iterrows():
        assert np.flatnonzero(ids == row.inst_id)[0] == poly_id
        assert ((ids == row.inst_id).sum(), ndimage.label(ids == row.inst_id)[1]) == (row.n_pixels, 1)
    assert shapely.coverage_is_valid(table.geometry.values)
    fewer = vectorized(raster, tmp_path / "b.gpkg", *CROWNS[:-1], "0.6")
    assert fewer.inst_id.max() == 3


@pytest.mark.parametrize("more", [(), ("--mmu", "400px")])
def test_no_band_shows_in_crowns(tmp_path, monkeypatch, more) -> None:
    raster = park(tmp_path)
    whole = vectorized(raster, tmp_path / "whole.gpkg", *CROWNS, *more)
    for rows in (1, 7, 64):
        monkeypatch.setattr(survey, "BAND_PX", rows * 110)
        banded = vectorized(raster, tmp_path / f"bands{rows}.gpkg", *CROWNS, *more)
        assert banded.drop(columns="geometry").equals(whole.drop(columns="geometry"))
        assert shapely.equals_identical(banded.geometry.values, whole.geometry.values).all()
        assert (tmp_path / f"bands{rows}.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--things", "vegetation", "--split", "scores:tree"), "must be among --things vegetation"),
        (("--things", "tree", "--split", "scores:oak"), "--split scores: 'oak' is no class"),
        (("--things", "tree", "--split", "scores:"), "--split 'scores:' is none of"),
        ((*CROWNS, "--split-depth", "0.1"), "--split-depth 0.1 has nothing to act on with --split scores:tree"),
        (
            ("--things", "tree", "--split", "watershed", "--split-apart", "3px"),
            "nothing to act on with --split watershed",
        ),
        ((*CROWNS[:-1], "2"), "--split-score '2': with --split scores:tree it is a part of the score"),
        ((*CROWNS, "--split-apart", "900px"), "takes at most 128"),
        ((*CROWNS, "--split-smooth", "3"), "--split-smooth '3' is no length"),
    ],
)
def test_refusals_of_crowns_are_one_line(tmp_path, flags, says) -> None:
    raster = park(tmp_path)
    done = geoseg("vectorize", raster, "-o", tmp_path / "a.gpkg", *flags)
    assert (done.code, says in done.last) == (2, True), done.err


def test_crowns_without_scores_of_all_classes_are_refused(tmp_path) -> None:
    raster = park(tmp_path)
    call = ("vectorize", raster, "-o", tmp_path / "a.gpkg", *CROWNS)
    with rasterio.open(tmp_path / "scene.probabilities.tif", "r+") as dataset:
        dataset.descriptions = ("other", "green", "oak")
    other = geoseg(*call)
    assert (other.code, "has no band 'tree', but other, green, oak" in other.last) == (65, True), other.err
    (tmp_path / "scene.probabilities.tif").unlink()
    none = geoseg(*call)
    assert (none.code, "NAME.probabilities.tif beside the class raster" in none.last) == (2, True), none.err


def test_run_makes_the_scores_that_its_split_needs(piece, model, tmp_path) -> None:
    call = ["run", piece, "-o", tmp_path, "-m", model, "--things", "trees,built", "--split", "scores:trees"]
    done = geoseg(*call, "--split-score", "0.2", "--json")
    assert done.code == 0, done.err
    result, ids = json.loads(done.out), codes_of(tmp_path / "piece.instances.tif")
    codes, raw = codes_of(tmp_path / "piece.classes.tif"), codes_of(tmp_path / "piece.raw.tif")
    assert result["probabilities"] == str(tmp_path / "piece.probabilities.tif")
    assert ids.max() > 1
    assert (codes[ids > 0] == 2).all()
    assert (codes[ids == 0] == raw[ids == 0]).all()
    assert sum(c["area_m2"] for c in result["changed"]) == 100 * (codes != raw).sum()
    assert verify_record(tmp_path / "piece.json") == []
    again = geoseg(
        "vectorize", tmp_path / "piece.raw.tif", "-o", tmp_path / "again.gpkg", *call[6:], "--split-score", "0.2"
    )
    assert again.code == 0, again.err
    assert polygons_in(tmp_path / "again.gpkg").inst_id.max() == ids.max()
    assert (geoseg(*call, "--split-score", "0.2").out.count("up to date"), geoseg(*call).code) == (1, 73)


def test_no_tile_shows_in_crowns_of_a_run(piece, model, tmp_path) -> None:
    call = ["run", piece, "-m", model, "--things", "trees,built", "--split", "scores:trees", "--split-score", "0.2"]
    for folder, tile in (("whole", "2048"), ("tiled", "32")):
        done = geoseg(*call, "--tile", tile, "-o", tmp_path / folder)
        assert done.code == 0, done.err
    for name in ("instances", "classes", "raw", "probabilities"):
        whole, tiled = (tmp_path / folder / f"piece.{name}.tif" for folder in ("whole", "tiled"))
        assert whole.read_bytes() == tiled.read_bytes()
    whole, tiled = (polygons_in(tmp_path / folder / "piece.polygons.gpkg") for folder in ("whole", "tiled"))
    assert whole.equals(tiled)


def test_crowns_of_one_class_move_no_pixel(tmp_path) -> None:
    raster = park(tmp_path)
    flags = ("--things", "tree", *CROWNS[2:], "--raster-out", str(tmp_path / "a_classes.tif"))
    table = vectorized(raster, tmp_path / "a.gpkg", *flags)
    before = codes_of(raster)
    assert (codes_of(tmp_path / "a_classes.tif") == before).all()
    ids = codes_of(tmp_path / "a.tif")
    assert ids.max() == 3
    assert (before[ids > 0] == 3).all()
    assert table[(table.class_id == 3) & table.inst_id.isna()].n_pixels.sum() == ((before == 3) & (ids == 0)).sum()
    assert not VectorSettings(things=("tree",), split="scores:tree").generalizes
