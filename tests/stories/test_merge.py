"""Polygons of finished runs in one layer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyogrio
import pytest
from cli_kit import CLASSES, cut, geoseg, polygons_in, reflectance_model, states

from geoseg.classes import ClassScheme
from geoseg.errors import InputError, OutputExistsError, UsageError
from geoseg.io import merged_rows
from geoseg.io.record import verify_record
from geoseg.settings import OutputSettings
from geoseg.stories.merge import merge


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return reflectance_model(tmp_path_factory.mktemp("model") / "toy.safetensors")


@pytest.fixture(scope="module")
def runs(sample, model, tmp_path_factory) -> Path:
    """A folder with the runs of two neighbors."""
    folder = tmp_path_factory.mktemp("runs")
    west, east = cut(sample, folder / "west.tif", width=90), cut(sample, folder / "east.tif", col=470, width=81)
    done = geoseg(
        "run", west, east, "--each", "-m", model, "-o", folder / "out", "--confidence", "--format", "gpkg,parquet"
    )
    assert done.code == 0, done.err
    return folder / "out"


def rows_of(runs: Path) -> set[tuple[object, ...]]:
    tables = [polygons_in(runs / f"{name}.polygons.gpkg").reset_index() for name in ("east", "west")]
    return {row for table in tables for row in comparable(table)}


def comparable(table) -> list[tuple[object, ...]]:
    columns = ["scene_id", "poly_id", "class_id", "class_name", "area_m2", "perim_m", "n_pixels", "score"]
    plain = table[columns].itertuples(index=False, name=None)
    return [(*row, shape) for row, shape in zip(plain, table.geometry.to_wkb(), strict=True)]


@pytest.mark.parametrize("suffix", ["gpkg", "fgb", "parquet", "shp"])
def test_every_row_of_every_scene(runs, tmp_path, suffix) -> None:
    output = tmp_path / f"all.{suffix}"
    result = merge([runs], output)
    assert verify_record(tmp_path / f"{output.name}.json") == []
    table = polygons_in(output).reset_index()
    assert result.n_polygons == len(table) > 20
    assert result.n_scenes == 2
    if suffix != "shp":  # whose rings turn the other way
        assert set(comparable(table)) == rows_of(runs)
    assert set(table.scene_id) == {"west", "east"}
    assert sum(result.area_m2.values()) == pytest.approx(table.area_m2.sum())
    assert result.count == {name: int((table.class_name == name).sum()) for name in CLASSES.names}


def test_the_rows_of_geopackages_are_those_of_geoparquets(runs, model, sample, tmp_path) -> None:
    """A layer is the same from either; with `--dissolve` its rows are multipolygons."""
    done = geoseg("run", cut(sample, tmp_path / "w.tif", width=90), "-m", model, "-o", tmp_path / "one", "--dissolve")
    assert done.code == 0, done.err
    merge([tmp_path / "one" / "w.json"], tmp_path / "classes.gpkg")
    table, own = (polygons_in(path) for path in (tmp_path / "classes.gpkg", tmp_path / "one" / "w.polygons.gpkg"))
    assert pyogrio.read_info(tmp_path / "classes.gpkg", layer="toy")["geometry_type"] == "MultiPolygon"
    assert table.to_wkb().equals(own.to_wkb())
    with pytest.raises(InputError, match=r"west has another table than w: give all --things, --dissolve alike"):
        merge([tmp_path / "one" / "w.json", runs / "west.json"], tmp_path / "no.gpkg")


def test_rows_pass_in_batches(runs, tmp_path, monkeypatch) -> None:
    """Whatever the number of scenes, no more than a batch of rows is read at a time."""
    monkeypatch.setattr(merged_rows, "READ_ROWS", 7)
    read, original = [], merged_rows._totals

    def counted(batch: pa.RecordBatch, *more: object) -> object:
        read.append(batch.num_rows)
        return original(batch, *more)

    monkeypatch.setattr(merged_rows, "_totals", counted)
    result = merge([runs], tmp_path / "all.gpkg")
    assert max(read) <= 7
    assert sum(read) == result.n_polygons
    assert set(comparable(polygons_in(tmp_path / "all.gpkg").reset_index())) == rows_of(runs)


def test_again_is_up_to_date_and_other_runs_need_overwrite(runs, tmp_path) -> None:
    output = tmp_path / "all.gpkg"
    first = merge([runs / "west.json"], output)
    before = states(tmp_path)
    again = merge([runs / "west.json"], output)
    assert (again.up_to_date, again.count, states(tmp_path)) == (True, first.count, before)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        merge([runs], output)
    assert states(tmp_path) == before
    assert merge([runs], output, OutputSettings(overwrite=True)).n_scenes == 2


def changed(runs: Path, folder: Path, change: str) -> Path:
    """A copy of the run of `west` in which something is not as it was."""
    copy = folder / "copy"
    copy.mkdir()
    for path in runs.glob("west.*"):
        (copy / path.name).write_bytes(path.read_bytes())
    polygons = copy / "west.polygons.parquet"
    if change == "flipped":
        data = bytearray(polygons.read_bytes())
        data[len(data) // 2] ^= 1
        polygons.write_bytes(data)
    elif change == "gone":
        polygons.unlink()
    return copy / "west.json"


@pytest.mark.parametrize("change", ["flipped", "gone"])
def test_polygons_that_are_not_those_of_the_record_are_refused(runs, tmp_path, change) -> None:
    record = changed(runs, tmp_path, change)
    with pytest.raises(
        InputError, match=r"west\.polygons\.parquet is not what its record says: .* Run the scene again"
    ):
        merge([record, runs / "east.json"], tmp_path / "all.gpkg")
    assert not (tmp_path / "all.gpkg").exists()


def test_what_is_no_layer_is_refused(runs, model, sample, tmp_path) -> None:
    other = tmp_path / "other"
    piece = cut(sample, tmp_path / "piece.tif", width=40, height=40)
    assert geoseg("run", piece, "-m", model, "-o", other / "crs", "--out-crs", "EPSG:3857").code == 0
    with pytest.raises(InputError, match=r"polygons of piece are in .*Mercator, of west in .*18N; .*--out-crs"):
        merge([runs / "west.json", other / "crs"], tmp_path / "a.gpkg")
    fewer = reflectance_model(tmp_path / "m.safetensors", classes=ClassScheme(tuple(reversed(CLASSES.classes))))
    assert geoseg("run", piece, "-m", fewer, "-o", other / "classes").code == 0
    with pytest.raises(InputError, match=r"piece has other classes than west: run all with one model or --legend"):
        merge([runs / "west.json", other / "classes"], tmp_path / "a.gpkg")
    assert geoseg("run", piece, "-m", model, "-o", other / "fgb", "--format", "fgb").code == 0
    with pytest.raises(InputError, match=r"no polygons as GeoPackage or GeoParquet; run it again with --format gpkg"):
        merge([other / "fgb"], tmp_path / "a.gpkg")
    with pytest.raises(InputError, match=r"two runs are called west"):
        merge([runs / "west.json", changed(runs, tmp_path, "")], tmp_path / "a.gpkg")
    with pytest.raises(InputError, match=r"holds no finished run"):
        merge([tmp_path], tmp_path / "a.gpkg")
    with pytest.raises(UsageError, match=r"no finished run given"):
        merge([], tmp_path / "a.gpkg")
    with pytest.raises(OutputExistsError, match=r"is also an input"):
        merge([runs], runs / "west.polygons.parquet")
    assert np.array_equal(sorted(path.name for path in tmp_path.glob("a.*")), [])


def test_the_layer_tells_its_license_and_not_one_scenes_date(runs, tmp_path) -> None:
    merge([runs], tmp_path / "all.gpkg")
    about = pyogrio.read_info(tmp_path / "all.gpkg", layer="toy")["layer_metadata"]
    own = json.loads((runs / "west.json").read_text("utf-8"))
    assert about["LICENSE"] == "Apache-2.0"
    assert about["MODEL"] == "toy 1"
    assert own["geoseg:polygons"] > 0
