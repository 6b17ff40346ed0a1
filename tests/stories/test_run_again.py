"""What `geoseg run` does about what is already there: nothing twice, nothing of others destroyed, no input ever."""

from __future__ import annotations

import geopandas as gpd
import pytest
import rasterio
import shapely
from cli_kit import FORMATS, cut, geoseg, names_in, states

from geoseg.io.record import verify_record


def test_a_second_run_is_up_to_date_and_touches_nothing(piece, model, tmp_path) -> None:
    call = ["run", piece, "-o", tmp_path, "-m", model, "--format", ",".join(FORMATS), "--confidence"]
    assert geoseg(*call).code == 0
    before = states(tmp_path)
    done = geoseg(*call)
    assert (done.code, "up to date" in done.out, states(tmp_path) == before) == (0, True, True)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--confidence"], 'segment.scores: [] → ["confidence"]'),
        (["--format", "gpkg,fgb"], "vector.formats"),
        (["--skip-classes", "water"], "vector.skip_classes"),
        (["--scale", "0.0002"], "segment.bands"),
        (["--margin", "8"], "segment.chip"),
    ],
)
def test_other_settings_are_named_and_need_overwrite(piece, model, tmp_path, change, named) -> None:
    call = ["run", piece, "-o", tmp_path / "out", "-m", model, "-q"]
    assert geoseg(*call).code == 0
    before = states(tmp_path / "out")
    done = geoseg(*call, *change)
    assert done.code == 73
    assert named in done.last
    assert "--overwrite" in done.last
    assert states(tmp_path / "out") == before
    done = geoseg(*call, *change, "--overwrite")
    assert done.code == 0
    assert verify_record(tmp_path / "out" / "piece.json") == []
    assert geoseg(*call, *change).out.endswith(f"up to date: {tmp_path}/out/piece.json\n")


@pytest.mark.parametrize("change", [["--tile", "64"], ["--batch-size", "3"], ["--quiet"]])
def test_what_cannot_change_the_result_is_no_other_setting(piece, model, tmp_path, change) -> None:
    call = ["run", piece, "-o", tmp_path, "-m", model]
    assert geoseg(*call).code == 0
    assert "up to date" in geoseg(*call, *change).out


def test_another_image_under_the_same_name_is_another_input(piece, sample, model, tmp_path) -> None:
    assert geoseg("run", piece, "-o", tmp_path / "out", "-m", model).code == 0
    other = cut(sample, tmp_path / piece.name, col=0)
    done = geoseg("run", other, "-o", tmp_path / "out", "-m", model)
    assert (done.code, "segment.input" in done.last) == (73, True)


def test_a_foreign_file_stays_unless_overwritten(piece, model, tmp_path) -> None:
    mine = tmp_path / "piece.preview.png"
    mine.write_text("mine")
    done = geoseg("run", piece, "-o", tmp_path, "-m", model)
    assert (done.code, str(mine) in done.last, "--overwrite" in done.last) == (73, True, True)
    assert names_in(tmp_path) == {mine.name}
    assert mine.read_text() == "mine"
    assert geoseg("run", piece, "-o", tmp_path, "-m", model, "--overwrite").code == 0
    assert verify_record(tmp_path / "piece.json") == []


def test_a_folder_that_cannot_be_made_is_told(piece, model, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    done = geoseg("run", piece, "-o", tmp_path / "file" / "out", "-m", model)
    assert (done.code, str(tmp_path / "file" / "out") in done.last) == (73, True)


def test_input_is_never_destroyed(piece, model, tmp_path) -> None:
    """`--name` can lead an output onto the input, `--overwrite` says yes: still no."""
    source = tmp_path / "scene.classes.tif"
    source.write_bytes(piece.read_bytes())
    (tmp_path / "link.tif").symlink_to(source)
    for given in (source, tmp_path / "link.tif"):
        done = geoseg("run", given, "-o", tmp_path, "--name", "scene", "-m", model, "--overwrite")
        assert (done.code, "scene.classes.tif" in done.last, "input" in done.last) == (73, True, True)
    assert source.read_bytes() == piece.read_bytes()
    assert names_in(tmp_path) == {"scene.classes.tif", "link.tif"}


def test_the_area_of_interest_is_never_destroyed(piece, model, tmp_path) -> None:
    with rasterio.open(piece) as image:
        aoi = gpd.GeoDataFrame(geometry=[shapely.box(*image.bounds)], crs=image.crs)
    aoi.to_file(tmp_path / "piece.polygons.gpkg")
    before = states(tmp_path)
    done = geoseg("run", piece, "-o", tmp_path, "-m", model, "--overwrite", "--aoi", tmp_path / "piece.polygons.gpkg")
    assert (done.code, states(tmp_path) == before) == (73, True)
