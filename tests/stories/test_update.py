"""`--update`: inputs changed a little since the finished run; only what they changed is predicted, the rest is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from builders import NORTH_UP, UTM, linear_model, write_raster
from cli_kit import geoseg, names_in, states
from resume_kit import RECORD, assert_same_answer
from update_kit import forwarded, most_chips, touched_pairs

from geoseg.io.compose import open_scene
from geoseg.io.record import verify_record
from geoseg.tiling.plan import TilePlan, plan_tiles
from geoseg.tiling.seam import sampled_pairs

HEIGHT, WIDTH = 210, 250
SCORES = ("--confidence", "--ambiguity", "--probabilities")
CHIP, MARGIN = 32, 8


def image() -> np.ndarray:
    data = np.random.default_rng(0).integers(1, 99, (2, HEIGHT, WIDTH)).astype("uint8")
    data[:, 150:190, 30:70] = 0
    return data


def one_percent(data: np.ndarray) -> None:
    """525 of 52 500 pixels, far from the pairs that are sampled for the seam number."""
    data[:, 8:33, 220:241] = 100 - data[:, 8:33, 220:241]


def in_a_margin(data: np.ndarray) -> None:
    """One pixel beside the edge of a cell: its neighbor sees it in its margin only."""
    data[1, 40, 15] ^= 64


def hole(data: np.ndarray) -> None:
    data[:, 90:99, 100:120] = 0


def filled(data: np.ndarray) -> None:
    data[:, 150:170, 30:70] = 55


def everywhere(data: np.ndarray) -> None:
    data[:] = data[:, ::-1]


CHANGES = (one_percent, in_a_margin, hole, filled)


@dataclass
class Place:
    """A scene, a model that looks around, and folders."""

    folder: Path
    model: Path

    @property
    def scene(self) -> Path:
        return self.folder / "piece.tif"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def write(self, change: Callable[[np.ndarray], None] | None = None) -> np.ndarray:
        """The scene, changed or not; its pixels."""
        data = image()
        if change is not None:
            change(data)
        # Never half a file under the name that is read.
        draft = write_raster(self.folder / "draft.tif", data, nodata=0, compress=None if change is None else "deflate")
        draft.replace(self.scene)
        return data

    def run(self, *flags: object, out: Path | None = None) -> str:
        """A run that succeeds; what it says on standard error."""
        done = geoseg("run", self.scene, "-o", out or self.out, "-m", self.model, *flags)
        assert done.code == 0, done.err
        return done.err

    def full(self, *flags: object) -> Path:
        """A run that knows nothing, elsewhere."""
        self.run(*flags, out=self.folder / "full")
        return self.folder / "full"

    def plan(self, tile: int = 64, **more: object) -> TilePlan:
        grid = open_scene([self.scene]).grid
        return plan_tiles(grid, chip=CHIP, margin=MARGIN, stride=1, tile=tile, **more)


@pytest.fixture
def place(tmp_path) -> Place:
    weight = np.random.default_rng(5).normal(0, 0.02, (3, 2, 9, 9))
    found = Place(tmp_path, linear_model(tmp_path / "m.safetensors", weight, [0, 0, 0], chip=CHIP, margin=MARGIN).path)
    found.write()
    return found


def chips_of(out: Path) -> int:
    return json.loads((out / RECORD).read_text())["geoseg:summary"]["chips"]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "flags",
    [
        ("--tile", "64", *SCORES, "--format", "gpkg,geojson"),
        pytest.param(
            ("--tile", "64", "--blend", "taper", "--confidence", "--mmu", "9px", "--simplify", "20"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["trim", "taper"],
)
def test_an_update_gives_the_files_of_a_full_run_and_predicts_no_chip_too_many(place, change, flags) -> None:
    place.run(*flags)
    before, after = image(), place.write(change)
    with forwarded() as sent:
        said = place.run(*flags, "--update")
    assert_same_answer(place.out, place.full(*flags), but=["chips"])
    blend = "taper" if "taper" in flags else "trim"
    plan, changed = place.plan(blend=blend), (before != after).any(axis=0)
    assert 0 < changed.sum() <= 0.016 * changed.size
    assert chips_of(place.out) <= most_chips(plan, changed)
    assert len(sent) <= most_chips(plan, changed) + 2 * touched_pairs(plan, changed)
    if change is one_percent:
        assert touched_pairs(plan, changed) == 0
    total = plan.rows.count * plan.cols.count
    unchanged = total - most_chips(place.plan(), changed)
    assert f"update: {unchanged} of {total} chips are unchanged" in said.splitlines()


@pytest.mark.parametrize("where", [[], pytest.param(["--workers", "2"], marks=pytest.mark.slow)], ids=str)
def test_other_tiles_and_workers_than_those_of_the_finished_run(place, where) -> None:
    """Worker processes are told what is known, and never see the finished rasters."""
    place.run("--tile", "200", "--confidence")
    place.write(one_percent)
    place.run("--tile", "48", *where, "--confidence", "--update")
    assert 0 < chips_of(place.out) < 30
    assert_same_answer(place.out, place.full("--confidence"), but=["chips"])


def test_numbers_that_are_stored_otherwise_are_the_same_numbers(place) -> None:
    """The file changed, its name, its date; nothing is predicted."""
    place.run("--name", "piece", "--datetime", "2018-08-15")
    data = place.write(lambda _: None)
    other = write_raster(place.folder / "again.tif", data, nodata=0, compress="lzw")
    flags = ["--name", "piece", "--datetime", "2019-01-01"]
    with forwarded() as sent:
        done = geoseg("run", other, "-o", place.out, "-m", place.model, *flags, "--update")
    assert (done.code, sent) == (0, []), done.err
    assert geoseg("run", other, "-o", place.folder / "full", "-m", place.model, *flags).code == 0
    assert_same_answer(place.out, place.folder / "full", but=["chips"])


def test_an_area_of_interest_and_another_pixel_size_for_the_network(place) -> None:
    west, north = NORTH_UP.c, NORTH_UP.f
    area = shapely.box(west + 330, north - 1800, west + 2300, north - 150).union(
        shapely.Point(west + 300, north - 900).buffer(250)
    )
    gpd.GeoDataFrame(geometry=[area], crs=UTM).to_file(place.folder / "aoi.gpkg")
    weight = np.random.default_rng(6).normal(0, 0.02, (3, 2, 5, 5))
    coarse = linear_model(place.folder / "c.safetensors", weight, [0, 0, 0], margin=4, gsd_m=(16.0, 30.0)).path
    flags = ("--aoi", place.folder / "aoi.gpkg", "-m", coarse, *SCORES)
    for blend in ("trim", "taper"):
        place.write()
        place.run(*flags, "--blend", blend, "--overwrite")
        whole = chips_of(place.out)
        place.write(one_percent)
        place.run(*flags, "--blend", blend, "--update")
        assert 0 < chips_of(place.out) < whole / 2
        place.run(*flags, "--blend", blend, "--overwrite", out=place.folder / "full")
        assert_same_answer(place.out, place.folder / "full", but=["chips"])


def test_a_mask_file_that_changed(place) -> None:
    codes = np.zeros((HEIGHT, WIDTH), "uint8")
    codes[20:40, 20:40] = 3
    mask = write_raster(place.folder / "mask.tif", codes)
    flags = ("--mask", f"{mask}:values=3", "--mask-buffer", "25", "--confidence")
    place.run(*flags)
    codes[30:50, 20:40] = 3
    write_raster(mask, codes)
    with forwarded() as sent:
        place.run(*flags, "--update")
    grown = np.zeros(codes.shape, bool)
    grown[38:53, 17:43] = True
    assert 0 < chips_of(place.out) <= most_chips(place.plan(), grown)
    assert len(sent) < 40
    assert_same_answer(place.out, place.full(*flags), but=["chips"])


def test_segment_and_again_and_again(place) -> None:
    """Each update starts from the one before."""
    output = place.folder / "out" / "map.tif"
    call = ["segment", place.scene, "-o", output, "-m", place.model, *SCORES]
    assert geoseg(*call, "--update").code == 0  # nothing is finished: an ordinary run
    for change in CHANGES:
        place.write(change)
        assert geoseg(*call, "--update").code == 0
        assert 0 < json.loads((place.out / "map.tif.json").read_text())["geoseg:summary"]["chips"] < 60
    assert geoseg(*call[:3], place.folder / "full" / "map.tif", *call[4:]).code == 0
    for path in (place.folder / "full").iterdir():
        if path.suffix != ".json":
            assert (place.out / path.name).read_bytes() == path.read_bytes(), path.name
    before = states(place.out)
    done = geoseg(*call, "--update")
    assert (done.code, "up to date" in done.out, states(place.out) == before) == (0, True, True)


def test_the_table_is_an_asset_of_the_item(place) -> None:
    place.run()
    asset = json.loads((place.out / RECORD).read_text())["assets"]["tiles"]
    assert asset["href"] == "./piece.tiles.parquet"
    assert asset["type"] == "application/vnd.apache.parquet"
    assert asset["roles"] == ["metadata"]
    plan = place.plan()
    pairs = len(list(sampled_pairs(plan)))
    table = pq.read_table(place.out / "piece.tiles.parquet")
    assert len(table) == plan.rows.count * plan.cols.count
    assert sum(map(len, table["seams"].to_pylist())) == pairs == 2


def test_a_new_unit_takes_the_table_over_and_an_update_may_follow(place) -> None:
    """With a minimum mapping unit the model's answer is `.raw.tif`; without, the class raster itself."""
    place.run("--mmu", "9px")
    table = (place.out / "piece.tiles.parquet").read_bytes()
    place.run("--overwrite")
    assert (place.out / "piece.tiles.parquet").read_bytes() == table
    place.write(one_percent)
    place.run("--mmu", "9px", "--overwrite", "--update")
    assert 0 < chips_of(place.out) < 40
    place.write(hole)
    place.run("--overwrite", "--update")
    assert 0 < chips_of(place.out) < 40
    assert_same_answer(place.out, place.full(), but=["chips"])


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--margin", "4"], "segment.chip: [32, 8, 1] → [32, 4, 1]"),
        pytest.param(["--confidence"], 'segment.scores: [] → ["confidence"]', marks=pytest.mark.slow),
        (["--nodata", "none"], 'segment.bands.1: ["b1", 1, 1.0, 0.0, "nodata 0"] → '),
        pytest.param(["--mmu", "9px"], "vector.mmu", marks=pytest.mark.slow),
        (["--format", "gpkg,fgb"], "vector.formats"),
    ],
)
def test_other_settings_are_named_and_need_overwrite(place, flags, named) -> None:
    place.run()
    place.write(one_percent)
    before = states(place.out)
    done = geoseg("run", place.scene, "-o", place.out, "-m", place.model, *flags, "--update")
    assert (done.code, named in done.last, "--overwrite" in done.last) == (73, True, True), done.last
    assert "input" not in done.last
    assert states(place.out) == before
    said = place.run(*flags, "--update", "--overwrite")
    in_a_full_run = f"update: the finished run was made with other settings ({named.removeprefix('segment.')}" in said
    assert in_a_full_run == named.startswith("segment")
    assert_same_answer(place.out, place.full(*flags), but=[] if in_a_full_run else ["chips"])


def test_another_model_or_grid_is_named(place) -> None:
    place.run()
    weight = np.random.default_rng(7).normal(0, 0.02, (3, 2, 9, 9))
    other = linear_model(place.folder / "o.safetensors", weight, [0, 0, 0], chip=CHIP, margin=MARGIN).path
    done = geoseg("run", place.scene, "-o", place.out, "-m", other, "--update")
    assert (done.code, "segment.model: " in done.last) == (73, True), done.last
    write_raster(place.scene, image()[:, :, :-1], nodata=0)
    done = geoseg("run", place.scene, "-o", place.out, "-m", place.model, "--update")
    assert (done.code, "segment.grid.size: [250, 210] → [249, 210]" in done.last) == (73, True), done.last


def test_files_of_others_are_not_replaced(place) -> None:
    place.out.mkdir()
    (place.out / "piece.preview.png").write_text("mine")
    done = geoseg("run", place.scene, "-o", place.out, "-m", place.model, "--update")
    assert (done.code, "exists without a record" in done.last) == (73, True), done.last
    assert names_in(place.out) == {"piece.preview.png"}


@pytest.mark.parametrize("key", [{"segment": 5}, {"segment": {"bands": 7, "masks": [1]}}, {"bands": [[]]}])
def test_a_strange_record_is_another_run(place, key) -> None:
    place.out.mkdir()
    (place.out / RECORD).write_text(json.dumps({"geoseg:key": key, "geoseg:files": []}))
    done = geoseg("run", place.scene, "-o", place.out, "-m", place.model, "--update")
    assert (done.code, "made with other settings" in done.last) == (73, True), done.last
    assert "made with other settings" in place.run("--update", "--overwrite")
    assert_same_answer(place.out, place.full())


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def without_table(out: Path) -> None:
    """As a version of geoseg left it that knew no such table."""
    item = json.loads((out / RECORD).read_text())
    place = item if "geoseg:files" in item else item["properties"]
    place["geoseg:files"] = [row for row in place["geoseg:files"] if row["name"] != "piece.tiles.parquet"]
    (out / RECORD).write_text(json.dumps(item))
    (out / "piece.tiles.parquet").unlink()


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (lambda out: flip(out / "piece.classes.tif"), "piece.classes.tif has sha256"),
        pytest.param(
            lambda out: flip(out / "piece.confidence.tif"), "piece.confidence.tif has sha256", marks=pytest.mark.slow
        ),
        (lambda out: flip(out / "piece.tiles.parquet"), "piece.tiles.parquet has sha256"),
        (without_table, "piece.tiles.parquet is not among its files"),
    ],
    ids=["classes", "scores", "table", "no table"],
)
def test_what_is_damaged_or_missing_is_said_and_everything_computed(place, harm, named) -> None:
    place.run("--confidence")
    harm(place.out)
    place.write(one_percent)
    said = place.run("--confidence", "--update")
    assert "update: the finished run is of no use, all chips are predicted: " + named in said
    assert_same_answer(place.out, place.full("--confidence"))


def test_a_run_without_a_table_is_done_again_with_the_same_inputs_too(place) -> None:
    place.run()
    without_table(place.out)
    assert "piece.tiles.parquet is not among its files" in place.run("--update")
    assert_same_answer(place.out, place.full())
    before = states(place.out)
    place.run("--update")
    assert states(place.out) == before


def test_a_harmed_file_that_is_not_needed_is_in_nobodys_way(place) -> None:
    place.run()
    flip(place.out / "piece.polygons.gpkg")
    place.write(one_percent)
    place.run("--update")
    assert 0 < chips_of(place.out) < 40
    assert_same_answer(place.out, place.full(), but=["chips"])


def test_all_changed_is_a_full_run(place) -> None:
    place.run("--blend", "taper")
    place.write(everywhere)
    assert "update: 0 of " in place.run("--blend", "taper", "--update")
    assert_same_answer(place.out, place.full("--blend", "taper"))


def test_an_input_that_changes_during_the_update_is_noticed(place, monkeypatch) -> None:
    """The old output stays whole."""
    place.run()
    place.write(one_percent)
    before = states(place.out)
    from geoseg.stories import rasters

    work = rasters.TileJob

    class Meddling(work):  # type: ignore[misc, valid-type]
        def __call__(self, tile):
            if tile.number == 0:
                place.write(hole)
            return super().__call__(tile)

    with monkeypatch.context() as patch:
        patch.setattr(rasters, "TileJob", Meddling)
        done = geoseg("run", place.scene, "-o", place.out, "-m", place.model, "--update")
    assert (done.code, "changed during the run" in done.last) == (65, True), done.err
    assert states(place.out) == before
    assert verify_record(place.out / RECORD) == []
    place.run("--update")
    assert_same_answer(place.out, place.full(), but=["chips"])
