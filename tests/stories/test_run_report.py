"""The page that `run` writes: it tells this run's figures, shows this run's map, and nothing of this machine."""

from __future__ import annotations

import base64
import json
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from cli_kit import CLASSES, codes_of, cut, geoseg
from html_kit import Checked
from PIL import Image

from geoseg.io import score_raster
from geoseg.io.record import verify_record
from geoseg.io.score_raster import score_counts

NASTY = "<script>alert('w')</script>"


@pytest.fixture(scope="module")
def made(piece, model, tmp_path_factory) -> Path:
    """Not smoothed, with scores, in a folder whose name must not appear."""
    out = tmp_path_factory.mktemp("somewhere")
    assert geoseg("run", piece, "-o", out, "-m", model, "--confidence", "--datetime", "2018-08-15").code == 0
    return out


def page_in(out: Path) -> str:
    return (out / "piece.report.html").read_text(encoding="utf-8")


def rows_of(text: str) -> dict[str, list[str]]:
    """First cell of each table row → the others."""
    rows = re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    cells = [[re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row)] for row in rows]
    return {first: rest for first, *rest in cells}


def map_in(text: str) -> np.ndarray:
    """(row, col, 3) colors of the class map."""
    source = str(Checked(text).all("img")[-1]["src"])
    return np.asarray(Image.open(BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGBA").convert("RGB"))


def test_it_is_one_of_the_runs_files(made) -> None:
    assert verify_record(made / "piece.json") == []
    asset = json.loads((made / "piece.json").read_text())["assets"]["report"]
    assert (asset["href"], asset["type"]) == ("./piece.report.html", "text/html")


def test_figures_are_those_of_record_and_rasters(made) -> None:
    summary = json.loads((made / "piece.json").read_text())["geoseg:summary"]
    text = page_in(made)
    rows = rows_of(text)
    for c in CLASSES.classes:
        code, hectares, share, pixels, _ = rows[c.name]
        assert (int(code), int(pixels.replace(",", ""))) == (c.code, summary["pixels"][c.name])
        area = summary["area_m2"][c.name]
        assert float(hectares.replace(",", "")) == pytest.approx(area / 1e4, abs=0.5)
        assert float(share.split()[0]) == pytest.approx(100 * area / sum(summary["area_m2"].values()), abs=0.05)
    scores = codes_of(made / "piece.confidence.tif")
    assert float(rows["mean"][0]) == pytest.approx(scores[scores > 0].mean() / 255, abs=0.0005)
    assert float(rows["median"][0]) == pytest.approx(np.median(scores[scores > 0]) / 255, abs=0.002)


def test_the_map_is_that_of_the_raster(made) -> None:
    codes, shown = codes_of(made / "piece.classes.tif"), map_in(page_in(made))
    for c in CLASSES.classes:
        assert (shown[codes == c.code] == c.color).all()


def test_provenance_is_told_and_no_folder(made, piece, model) -> None:
    text = page_in(made)
    rows = rows_of(text)
    assert rows["files"] == [piece.name]
    assert rows["CRS"] == ["WGS 84 / UTM zone 18N (EPSG:32618)"]
    assert rows["numbers"][0].startswith("reflectance = DN·0.0001 +0 (file): blue, green, red")
    assert rows["confidence"] == ["yes"]
    assert rows["name"] == ["toy 1"]
    assert "taken 2018-08-15" in text
    named = {str(a["href"]).removeprefix("./") for a in Checked(text).all("a")} - {"#content"}
    assert named == {path.name for path in made.iterdir()} - {"piece.report.html"}
    for folder in (made, piece.parent, model.parent):
        assert folder.name not in text


def test_names_of_classes_are_text(piece, model, tmp_path) -> None:
    legend = tmp_path / "legend.csv"
    lines = [f'{c.code},{c.name},{c.hex_color},"{NASTY if c.name == "water" else c.name}"' for c in CLASSES.classes]
    legend.write_text("\n".join(["code,from,color,name", *lines]) + "\n", encoding="utf-8")
    done = geoseg("run", piece, "-o", tmp_path / "out", "-m", model, "--legend", legend)
    assert done.code == 0, done.err
    found = Checked(page_in(tmp_path / "out"))
    assert len(found.all("script")) == 1
    assert NASTY in "".join(found.words)


def test_an_assessment_of_the_same_map_is_shown_and_of_no_other(made, piece, model, tmp_path) -> None:
    """Another simplification keeps the class raster, another minimum mapping unit does not."""
    out = tmp_path / "out"
    call = ("run", piece, "-o", out, "-m", model)
    assert geoseg(*call).code == 0
    assert "Nobody had assessed this map" in page_in(out)
    assert geoseg("evaluate", out / "piece.classes.tif", made / "piece.classes.tif", "-o", out).code == 0
    assert geoseg(*call, "--simplify", "20", "--overwrite").code == 0
    assert "overall accuracy 1.000" in page_in(out)
    assert "./piece.accuracy.html" in {a["href"] for a in Checked(page_in(out)).all("a")}
    assert geoseg(*call, "--mmu", "9px", "--overwrite").code == 0
    text = page_in(out)
    assert "Nobody had assessed this map" in text
    assert "What the minimum mapping unit" in text
    (out / "piece.accuracy.json").write_text('{"somebody": "else"}')
    assert geoseg(*call, "--mmu", "8px", "--overwrite").code == 0
    assert "Nobody had assessed this map" in page_in(out)


def test_workers_and_tiles_leave_no_trace(made, piece, model, tmp_path) -> None:
    flags = ("--confidence", "--datetime", "2018-08-15", "--tile", "64", "--name", "piece", "--max-memory", "8GB")
    assert geoseg("run", piece, "-o", tmp_path, "-m", model, *flags).code == 0
    mine, theirs = (rows_of(page_in(folder)) for folder in (tmp_path, made))
    assert {name: row for name, row in mine.items() if theirs.get(name) != row} == {}


def test_an_area_of_interest_frames_the_page(sample, model, tmp_path) -> None:
    piece = cut(sample, tmp_path / "wide.tif", width=120, height=100)
    from rasterio import open as open_raster

    with open_raster(piece) as image:
        x, y = image.transform @ (20, 10)
    aoi = tmp_path / "aoi.geojson"
    ring = [[x, y], [x + 400, y], [x + 400, y - 300], [x, y - 300], [x, y]]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32618"}}
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    aoi.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))
    assert geoseg("run", piece, "-o", tmp_path / "out", "-m", model, "--aoi", aoi).code == 0
    text = (tmp_path / "out" / "wide.report.html").read_text(encoding="utf-8")
    rows = rows_of(text)
    assert float(rows["classified"][1]) == pytest.approx(12.0, abs=0.05)
    assert float(rows["outside the AOI"][1]) == pytest.approx(108, abs=0.5)
    assert map_in(text).shape[:2] < (100, 120)
    assert "aoi.geojson" in rows["aoi"][0]


@pytest.mark.parametrize("part", [1, 700, 1 << 21])
def test_scores_are_counted_whatever_is_read_at_a_time(made, piece, monkeypatch, part) -> None:
    from geoseg import open_scene

    monkeypatch.setattr(score_raster, "_COUNTED_PX", part)
    counts = score_counts(made / "piece.confidence.tif", open_scene(piece).grid)
    np.testing.assert_array_equal(counts, np.bincount(codes_of(made / "piece.confidence.tif").ravel(), minlength=256))
