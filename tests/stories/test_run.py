"""`geoseg run` on the sample scene: every file it promises, each compared with a truth of its own."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pyogrio
import pystac
import pytest
import rasterio
import shapely
from builders import linear_model, write_raster
from cli_kit import (
    BANDS,
    BIAS,
    CLASSES,
    FORMATS,
    WEIGHT,
    Done,
    codes_of,
    geoseg,
    names_in,
    polygons_in,
)
from PIL import Image
from rio_cogeo import cog_validate
from scipy import ndimage

from geoseg.classes import ClassScheme
from geoseg.io.record import verify_record
from geoseg.model.spec import Band

NAME = "eastern_shore_s2"


@pytest.fixture(scope="module")
def full(sample, model, tmp_path_factory) -> tuple[Path, Done]:
    """The committed sample, all formats."""
    out = tmp_path_factory.mktemp("full") / "out"
    done = geoseg("run", sample, "-o", out, "-m", model, "--format", ",".join(FORMATS), "--confidence", "--json")
    assert done.code == 0, done.err
    return out, done


@pytest.fixture(scope="module")
def tables(full) -> dict[str, gpd.GeoDataFrame]:
    """Format → polygons by poly_id, as other programs read them."""
    out, _ = full
    return {suffix: polygons_in(out / f"{NAME}.polygons.{suffix}") for suffix in FORMATS}


def test_files_are_named_as_promised_and_nothing_else_is_left(full) -> None:
    out, done = full
    rasters = {"classes.tif", "classes.tif.aux.xml", "classes.qml", "confidence.tif", "tiles.parquet"}
    vectors = {f"polygons.{s}" for s in (*FORMATS, "shx", "dbf", "prj", "cpg", "qml")}
    assert names_in(out) == {f"{NAME}.{rest}" for rest in rasters | vectors | {"preview.png", "report.html", "json"}}
    result = json.loads(done.out)
    assert result["record"] == str(out / f"{NAME}.json")
    assert [Path(p).suffix[1:] for p in result["polygons"]] == list(FORMATS)


def test_the_class_raster_lies_on_the_input_pixel_by_pixel(full, sample) -> None:
    with rasterio.open(sample) as image, rasterio.open(full[0] / f"{NAME}.classes.tif") as classes:
        assert classes.crs == image.crs
        assert classes.transform == image.transform
        assert classes.shape == image.shape
        assert (classes.count, classes.dtypes, classes.nodata) == (1, ("uint8",), 255)


def test_the_classes_are_those_of_the_model(full, sample) -> None:
    """The network is one matrix: NumPy knows the answer wherever two classes are not all but equal."""
    with rasterio.open(sample) as image:
        reflectance = image.read().astype(float) * 1e-4
        valid = (image.read() != image.nodata).all(axis=0)
    logits = np.tensordot(WEIGHT, reflectance, 1) + np.array(BIAS)[:, None, None]
    expected = np.where(valid, np.array(CLASSES.codes)[logits.argmax(0)], 255)
    clear = np.diff(np.sort(logits, axis=0)[-2:], axis=0)[0] > 1e-4
    codes = codes_of(full[0] / f"{NAME}.classes.tif")
    assert clear.mean() > 0.999
    np.testing.assert_array_equal(codes[clear | ~valid], expected[clear | ~valid])


@pytest.mark.parametrize("kind", ["classes", "confidence"])
def test_rasters_are_valid_cogs_without_a_warning(full, kind) -> None:
    assert cog_validate(full[0] / f"{NAME}.{kind}.tif", strict=True, quiet=True) == (True, [], [])


def test_palette_names_and_tag_are_there(full) -> None:
    path = full[0] / f"{NAME}.classes.tif"
    with rasterio.open(path) as classes:
        palette, tags = classes.colormap(1), classes.tags()
    assert {c.code: palette[c.code][:3] for c in CLASSES.classes} == {c.code: c.color for c in CLASSES.classes}
    assert ClassScheme.from_json(json.loads(tags["GEOSEG_CLASSES"])) == CLASSES
    assert (tags["GEOSEG_MODEL"], tags["GEOSEG_MODEL_VERSION"]) == ("toy", "1")
    categories = [c.text for c in ET.parse(f"{path}.aux.xml").iter("Category")]  # noqa: S314 (our own file)
    assert {code: categories[code] for code in CLASSES.codes} == dict(zip(CLASSES.codes, CLASSES.names, strict=True))


def test_confidence_is_the_winning_score(full, sample) -> None:
    with rasterio.open(sample) as image:
        reflectance = image.read().astype(float) * 1e-4
    logits = np.tensordot(WEIGHT, reflectance, 1) + np.array(BIAS)[:, None, None]
    best = 1 / np.exp(logits - logits.max(axis=0)).sum(axis=0)
    found = codes_of(full[0] / f"{NAME}.confidence.tif").astype(float)
    valid = codes_of(full[0] / f"{NAME}.classes.tif") != 255
    assert (found[~valid] == 0).all()
    assert np.abs(found - best * 255)[valid].max() < 0.5 + 255 * 1e-4


def test_area_is_the_same_in_pixels_polygons_and_record(full, tables) -> None:
    codes = codes_of(full[0] / f"{NAME}.classes.tif")
    summary = json.loads(full[1].out)["summary"]
    for land in CLASSES.classes:
        pixels = int((codes == land.code).sum())
        table = tables["gpkg"][tables["gpkg"].class_id == land.code]
        assert pixels == table.n_pixels.sum() == summary["pixels"][land.name] > 1000
        assert table.geometry.area.sum() == pixels * 100
        assert table.area_m2.sum() == summary["area_m2"][land.name] == pixels * 100


def test_polygons_are_the_components_each_valid(full, tables) -> None:
    codes = codes_of(full[0] / f"{NAME}.classes.tif")
    components = sum(ndimage.label(codes == code)[1] for code in CLASSES.codes)
    table = tables["gpkg"]
    assert len(table) == components == json.loads(full[1].out)["n_polygons"]
    assert shapely.is_valid(table.geometry.array).all()
    assert (shapely.get_type_id(table.geometry.array) == shapely.GeometryType.POLYGON).all()


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_holds_the_same(full, tables, suffix) -> None:
    ours, gpkg = tables[suffix], tables["gpkg"]
    assert ours.index.equals(gpkg.index)
    assert set(ours.columns) - {"bbox"} == set(gpkg.columns)
    for column in ("class_id", "class_name", "n_pixels", "scene_id"):
        assert ours[column].tolist() == gpkg[column].tolist()
    for column in ("area_m2", "area_ha", "perim_m", "score"):
        np.testing.assert_allclose(ours[column], gpkg[column], rtol=1e-9)
    if suffix == "geojson":
        assert ours.crs.to_authority() == ("EPSG", "4326")
        back = ours.sample(200, random_state=1).to_crs(gpkg.crs)
        np.testing.assert_allclose(back.area, gpkg.area[back.index], rtol=1e-4)
    else:
        assert ours.crs.to_authority() == gpkg.crs.to_authority() == ("EPSG", "32618")
        assert (shapely.equals(ours.geometry.array, gpkg.geometry.array)).all()


def test_the_geopackage_opens_colored(full) -> None:
    path = full[0] / f"{NAME}.polygons.gpkg"
    assert pyogrio.list_layers(path)[0, 0] == "toy"
    style = gpd.read_file(path, layer="layer_styles").iloc[0]
    assert style.useAsDefault
    assert all(f'value="{c.code}"' in style.styleQML for c in CLASSES.classes)


def test_the_record_is_a_stac_item_with_true_checksums(full, sample) -> None:
    record = full[0] / f"{NAME}.json"
    assert verify_record(record) == []
    item = pystac.Item.from_file(str(record))
    assert item.id == NAME
    assert {(full[0] / asset.href).resolve().name for asset in item.assets.values()} == names_in(full[0]) - {
        record.name
    }
    with rasterio.open(sample) as image:
        assert item.properties["proj:code"] == "EPSG:32618"
        assert item.properties["proj:shape"] == list(image.shape)
        assert item.properties["proj:transform"] == list(image.transform)[:6]
    assert item.properties["geoseg:resampling"] is None
    assert item.datetime is None
    assert item.properties["geoseg:settings"]["predict"]["confidence"] is True


def test_the_preview_is_a_png_with_the_colors_of_the_classes(full) -> None:
    with Image.open(full[0] / f"{NAME}.preview.png") as page:
        assert page.format == "PNG"
        seen = {color: count for count, color in page.convert("RGB").getcolors(maxcolors=2**24)}
    codes = codes_of(full[0] / f"{NAME}.classes.tif")
    for land in CLASSES.classes:
        assert seen[land.color] > 0.5 * (codes == land.code).sum()  # shown at about full size


def test_name_is_the_stem_of_everything(piece, model, tmp_path) -> None:
    assert geoseg("run", piece, "-o", tmp_path, "-m", model, "--name", "Bay 2024").code == 0
    assert {name.partition(".")[0] for name in names_in(tmp_path)} == {"Bay 2024"}
    assert set(polygons_in(tmp_path / "Bay 2024.polygons.gpkg").scene_id) == {"Bay 2024"}


@pytest.mark.parametrize("name", ["../up", "a/b", "..", ""])
def test_a_name_is_no_path(piece, model, tmp_path, name) -> None:
    done = geoseg("run", piece, "-o", tmp_path / "out", "-m", model, "--name", name)
    assert (done.code, "--name" in done.last) == (2, True)
    assert names_in(tmp_path) == set()


def test_skipped_classes_have_no_polygons_but_stay_in_raster_and_table(piece, model, tmp_path) -> None:
    done = geoseg("run", piece, "-o", tmp_path, "-m", model, "--skip-classes", "water,7", "--json")
    assert done.code == 0
    assert set(polygons_in(tmp_path / "piece.polygons.gpkg").class_name) == {"trees", "built"}
    codes = codes_of(tmp_path / "piece.classes.tif")
    assert {code: int((codes == code).sum()) for code in CLASSES.codes} == dict(
        zip(CLASSES.codes, json.loads(done.out)["summary"]["pixels"].values(), strict=True)
    )
    done = geoseg("run", piece, "-o", tmp_path / "more", "-m", model, "--skip-classes", "snow")
    assert (done.code, "'snow'" in done.last) == (2, True)


def test_only_nodata_gives_an_empty_layer(model, tmp_path) -> None:
    empty = write_raster(tmp_path / "empty.tif", np.zeros((6, 40, 50), "uint16"), names=BANDS, nodata=0)
    done = geoseg("run", empty, "-o", tmp_path / "out", "-m", model, "--json")
    assert done.code == 0, done.err
    summary = json.loads(done.out)["summary"]
    assert (summary["nodata_px"], set(summary["pixels"].values())) == (2000, {0})
    layer = pyogrio.read_info(tmp_path / "out" / "empty.polygons.gpkg", layer="toy")
    assert (layer["features"], layer["geometry_type"]) == (0, "Polygon")


def test_on_a_lon_lat_grid_hectares_are_hectares_of_ground(tmp_path) -> None:
    """At 60° north a square in degrees is half as wide as tall; both ways of counting must know that."""
    rng = np.random.default_rng(5)
    data = np.kron(rng.integers(1, 9, (2, 8, 9)), np.ones((1, 7, 8), int)).astype("uint8")
    profile = {"crs": "EPSG:4326", "transform": rasterio.Affine(1e-4, 0, 10.0, 0, -1e-4, 60.0)}
    scene = write_raster(tmp_path / "north.tif", data, names=["red", "nir"], **profile)
    bands = tuple(Band(name=name, mean=0.0, std=1.0, plausible=(0, 255)) for name in ("red", "nir"))
    model = linear_model(tmp_path / "m.safetensors", np.eye(2)[:, :, None, None], [0, 0.5], bands=bands)
    done = geoseg("run", scene, "-o", tmp_path, "-m", model.path, "--json")
    summary = json.loads(done.out)["summary"]
    assert summary["area_model"] == "ground"
    total = sum(summary["area_m2"].values())
    # 111.41 km a degree of latitude, 55.80 km a degree of longitude at 60° (WGS 84).
    assert total == pytest.approx(56 * 72 * 11.141 * 5.580, rel=2e-3)
    table = polygons_in(tmp_path / "north.polygons.gpkg")
    for name, area in summary["area_m2"].items():
        assert table.area_m2[table.class_name == name].sum() == pytest.approx(area, rel=1e-12)
