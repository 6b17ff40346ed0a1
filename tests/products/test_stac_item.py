"""STAC items as products: bands by common name, numbers only as stated, masks, dates, names, addresses."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from builders import write_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_socket import disable_socket, enable_socket
from stac_kit import asset, eo_asset, item, write_item

from geoseg.errors import GeosegError, InputError, InputMissingError, PolicyError, UsageError
from geoseg.grid import Window
from geoseg.io.compose import open_scene
from geoseg.products import stac_item
from geoseg.products.product import Product
from geoseg.products.recognize import recognize
from geoseg.products.stac_source import is_stac, item_name, items_in, resolved
from geoseg.settings import ReadSettings

COMMON = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir", "B8A": "nir08", "B05": "rededge"}
E84 = "S2A_18SVG_20230615_0_L2A"
S2 = "sentinel-2-l2a"


@pytest.fixture(autouse=True, scope="module")
def _no_socket():
    disable_socket()
    yield
    enable_socket()


def told(path: Path | str, sensor: str = "auto", **more: Any) -> Product:
    product = recognize([path], sensor, **more)
    assert product is not None
    return product


def s2_assets(**stated: Any) -> dict[str, Any]:
    return {name: eo_asset(f"./{name}.tif", name, common, **stated) for name, common in COMMON.items()}


def files(folder: Path, names: tuple[str, ...] = ("B02", "B03", "B04", "B08", "B8A", "B05")) -> None:
    """12 × 12 pixels of 10 m, 6 × 6 of 20 m; each file has a number of its own."""
    for number, name in enumerate(names, start=1):
        coarse = name in {"B8A", "B05", "SCL"}
        side, size = (6, 20.0) if coarse else (12, 10.0)
        grid = Affine(size, 0, 500_000, 0, -size, 4_200_000)
        value = 4 if name == "SCL" else 1000 * number + 7
        write_raster(folder / f"{name}.tif", np.full((side, side), value, "uint16"), transform=grid, nodata=0)


def test_a_catalogs_item(tmp_path) -> None:
    """As Earth Search writes them: COG beside JPEG 2000, a picture of three bands, a scene classification."""
    files(tmp_path, (*COMMON, "SCL"))
    stated = {"scale": 0.0001, "offset": -0.1, "nodata": 0, "spatial_resolution": 10}
    assets = s2_assets(**stated)
    for band in ("B8A", "B05"):
        assets[band]["raster:bands"][0]["spatial_resolution"] = 20
    assets |= {
        "red-jp2": eo_asset("./missing.jp2", "red", "red", **stated) | {"type": "image/jp2"},
        "visual": asset("./missing.tif", **{"eo:bands": [{"common_name": c} for c in ("red", "green", "blue")]}),
        "scl": asset("./SCL.tif"),
        "thumbnail": {"href": "./missing.jpg", "type": "image/jpeg", "roles": ["thumbnail"]},
    }
    product = told(write_item(tmp_path, item(E84, assets, collection=S2, s2__processing_baseline="05.09")))
    assert (product.sensor, product.scene_id, product.grid_id) == ("s2-l2a", E84, "B02")
    assert product.acquired == datetime(2023, 6, 15, 15, 58, 21, tzinfo=UTC)
    assert {band.id: band.name for band in product.bands} == {
        "B02": "blue",
        "B03": "green",
        "B04": "red",
        "B08": "nir",
        "B8A": "nir_narrow",
        "B05": "rededge071",
    }
    assert all(band.path == str(tmp_path / f"{band.id}.tif") for band in product.bands)
    assert {(band.scale, band.offset, band.nodata) for band in product.bands} == {(0.0001, -0.1, 0.0)}
    assert [(layer.path, layer.rule) for layer in product.quality] == [(str(tmp_path / "SCL.tif"), "s2-scl")]
    scene = open_scene([tmp_path / "item.json"], ReadSettings())
    assert (scene.scene_id, scene.radiometry, scene.grid.shape) == (E84, "metadata", (12, 12))
    assert [mask.rule for mask in scene.masks] == ["s2-scl"]


BASELINES = [
    # applied, baseline, stated offset → offset; None: the user is asked
    (True, "05.09", -0.1, 0.0),
    (True, "05.09", None, 0.0),
    (False, "05.09", -0.1, -0.1),
    (False, "04.00", None, -0.1),
    (None, "05.09", -0.1, -0.1),
    (None, "05.09", 0, 0.0),
    (None, "05.09", None, None),
    (None, "03.01", None, 0.0),
    (False, "02.14", None, 0.0),
    (None, None, None, None),
    (None, None, -0.1, -0.1),
]


@pytest.mark.parametrize(("applied", "baseline", "stated", "offset"), BASELINES)
def test_sentinel2s_added_thousand(tmp_path, applied, baseline, stated, offset) -> None:
    properties = {"earthsearch__boa_offset_applied": applied, "s2__processing_baseline": baseline}
    given_ = {key: value for key, value in properties.items() if value is not None}
    numbers = {"scale": 0.0001, "spatial_resolution": 10} | ({} if stated is None else {"offset": stated})
    files(tmp_path)
    path = write_item(tmp_path, item(E84, s2_assets(**numbers), collection=S2, **given_))
    product = told(path)
    assert product.needs_offset is (offset is None)
    if offset is None:
        with pytest.raises(InputError, match=r"pass --offset -0\.1 if they do, --offset 0 if they do not"):
            open_scene([path])
        assert set(open_scene([path], ReadSettings(offset=(0.0,))).offset) == {0.0}
    else:
        assert [band.offset for band in product.bands] == [pytest.approx(offset)] * len(COMMON)


def test_other_sensors_without_an_offset_have_none(tmp_path) -> None:
    files(tmp_path)
    product = told(write_item(tmp_path, item("scene", s2_assets(scale=0.5, spatial_resolution=10))))
    assert (product.sensor, product.needs_offset) == ("none", False)
    assert {(band.scale, band.offset) for band in product.bands} == {(0.5, 0.0)}
    assert {band.name for band in product.bands} >= {"nir", "nir_narrow"}


def test_nothing_stated_nothing_scaled(tmp_path) -> None:
    """As the Planetary Computer writes them: no raster:bands at all."""
    files(tmp_path)
    path = write_item(tmp_path, item("S2A_MSIL2A_1", s2_assets(), collection=S2, s2__processing_baseline="05.09"))
    product = told(path)
    assert (product.radiometry, product.needs_offset) == ("none", False)
    assert any("neither scale nor offset" in note and "--offset -0.1" in note for note in product.notes)
    scene = open_scene([path])
    assert (set(scene.scale), set(scene.offset), scene.radiometry) == ({1.0}, {0.0}, "none")
    asked = open_scene([path], ReadSettings(scale=(0.0001,), offset=(-0.1,)))
    assert (set(asked.scale), set(asked.offset), asked.radiometry) == ({0.0001}, {-0.1}, "flags")
    np.testing.assert_array_equal(scene.select(["red"]).read(Window(0, 0, 4, 4)).data[0], 3007)


STATED = st.none() | st.sampled_from([1.0, 0.0001, 2.75e-05, -0.2, 3.0])


def numbers_follow_the_statement(folder: Path, statements: list[tuple[float | None, float | None]]) -> None:
    assets = {}
    for (name, common), (scale, offset) in zip(COMMON.items(), statements, strict=True):
        stated = {key: n for key, n in (("scale", scale), ("offset", offset)) if n is not None}
        assets[name] = eo_asset(f"./{name}.tif", name, common, spatial_resolution=10, **stated)
    path = write_item(folder, item("HLS.S30.T18SVG", assets))
    bands = {band.path: (band.scale, band.offset) for band in told(path).bands}
    for name, (scale, offset) in zip(COMMON, statements, strict=True):
        found = bands[str(folder / f"{name}.tif")]
        if scale is None and offset is None:
            assert found == (None, None), name
        else:
            assert found == (1.0 if scale is None else scale, 0.0 if offset is None else offset), name


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("here")


@settings(max_examples=30)
@given(statements=st.lists(st.tuples(STATED, STATED), min_size=len(COMMON), max_size=len(COMMON)))
def test_law_numbers_are_as_stated_and_never_a_presets(here, statements) -> None:
    numbers_follow_the_statement(here, statements)


def test_mutation_a_presets_scale_turns_it_red(here, monkeypatch) -> None:
    """Named mutation: where the item says nothing, the sensor's usual numbers are taken."""
    stated = stac_item._gain
    usual = (0.0001, 0.0)
    monkeypatch.setattr(stac_item, "_gain", lambda band, rule: usual if band.scale is None else stated(band, rule))
    with pytest.raises(AssertionError, match="B02"):
        numbers_follow_the_statement(here, [(None, None)] * len(COMMON))


def test_bands_of_stac_1_1(tmp_path) -> None:
    """`bands`, with what all share at the asset; several in one file."""
    write_raster(tmp_path / "all.tif", np.zeros((3, 8, 8), "uint16"))
    bands = [{"eo:common_name": "red"}, {"eo:common_name": "nir", "raster:offset": -0.3}, {"name": "unknown"}]
    one = asset("all.tif", bands=bands, nodata="nan", **{"raster:scale": 0.01, "raster:offset": -0.2, "gsd": 10})
    product = told(write_item(tmp_path, item("a", {"image": one}, version="1.1.0")))
    found = {band.name: (band.index, band.scale, band.offset) for band in product.bands}
    assert found == {"red": (1, 0.01, -0.2), "nir": (2, 0.01, -0.3)}
    assert all(band.nodata is not None and np.isnan(band.nodata) for band in product.bands)


def test_the_finest_repeat_counts_and_an_alternate_address(tmp_path) -> None:
    """As the Copernicus Data Space writes them: every band at 10, 20 and 60 m, on S3, by https besides."""

    def one(size: int) -> dict[str, Any]:
        bands = [{"name": "B04", "eo:common_name": "red"}]
        other = {"https": {"href": f"https://zipper.example/B04_{size}m.jp2?token=CANARY"}}
        return asset(f"s3://eodata/B04_{size}m.jp2", bands=bands, gsd=size, alternate=other) | {"type": "image/jp2"}

    path = write_item(tmp_path, item("S2A_MSIL2A_1", {f"B04_{s}m": one(s) for s in (60, 10, 20)}, collection=S2))
    (band,) = told(path).bands
    assert (band.id, band.path) == ("B04", "https://zipper.example/B04_10m.jp2?token=CANARY")


@pytest.mark.parametrize(
    ("collection", "name", "key", "band", "common"),
    [
        ("landsat-c2-l2", "LC08_L2SP_014034_20210704_02_T1", "nir08", "SR_B5", "nir"),
        ("landsat-c2-l2", "LT05_L2SP_014034_20010704_02_T1", "swir16", "SR_B5", "swir16"),
        ("HLSS30_2.0", "HLS.S30.T18SVG.2023166T155821.v2.0", "B8A", "B8A", "nir_narrow"),
        ("anything", "scene", "swir2", "swir2", "swir22"),
    ],
)
def test_sensors_are_told_by_collection_and_id(tmp_path, collection, name, key, band, common) -> None:
    path = write_item(tmp_path, item(name, {key: asset("x.tif", gsd=30)}, collection=collection))
    (found,) = told(path).bands
    assert (found.id, found.name) == (band, common)


def test_a_span_is_not_taken_for_an_instant(tmp_path) -> None:
    span = {"datetime": None, "start_datetime": "2023-06-01T00:00:00Z", "end_datetime": "2023-06-30T00:00:00Z"}
    product = told(write_item(tmp_path, item("a/b:c", {"red": asset("x.tif", gsd=10)}, **span)))
    assert (product.acquired, product.scene_id) == (None, "a_b_c")
    assert any("2023-06-01T00:00:00Z/2023-06-30T00:00:00Z" in note for note in product.notes)


def test_addresses_are_signed_when_they_are_read_and_not_before(tmp_path) -> None:
    assets = {
        "red": asset("https://host/x.tif", gsd=10),
        "scl": asset("https://host/scl.tif"),
        "nir": asset("n.tif", gsd=10),
    }
    product = told(write_item(tmp_path, item("a", assets)), sign="some.module:function")
    assert [band.path for band in product.bands] == [
        "https://host/x.tif#sign=some.module:function",
        str(tmp_path / "n.tif"),
    ]
    assert product.quality[0].path == "https://host/scl.tif#sign=some.module:function"
    with pytest.raises(UsageError, match="neither planetary-computer nor module:function"):
        told(tmp_path / "item.json", sign="no hook")


REMOTE = "https://host/c/items/item.json"


@pytest.mark.parametrize(
    ("href", "place", "found"),
    [
        ("./x.tif", "/data/item.json", "/data/x.tif"),
        ("../x%20y.tif", "/data/item.json", "/data/../x y.tif"),
        ("file:///d/x%20y.tif", "/data/item.json", "/d/x y.tif"),
        ("/d/x.tif", "/data/item.json", "/d/x.tif"),
        ("https://other/x.tif?sig=1", "/data/item.json", "https://other/x.tif?sig=1"),
        ("../x.tif", REMOTE, "https://host/c/x.tif"),
        ("/etc/x.tif", REMOTE, "https://host/etc/x.tif"),
        ("https://other/x.tif#sign=os:system", REMOTE, "https://other/x.tif"),
        ("file:///etc/passwd", REMOTE, PolicyError),
        ("/vsicurl/https://h/x.tif", REMOTE, PolicyError),
        ("s3://bucket/x.tif", "/data/item.json", InputError),
        (17, "/data/item.json", InputError),
    ],
)
def test_addresses(href, place, found) -> None:
    if isinstance(found, str):
        assert resolved(href, place) == found
    else:
        with pytest.raises(found):
            resolved(href, place)


def test_what_is_an_item() -> None:
    yes = (
        "a.json",
        "a/b.geojson",
        "items.json#one",
        "https://h/a.json?sig=1",
        "https://h/v1/collections/c/items/S2A_x.y",
    )
    assert [is_stac(text) for text in yes] == [True] * len(yes)
    assert not any(is_stac(text) for text in ("a.tif", "https://h/a.tif", "json", "https://h/collections/c"))
    assert [item_name(text) for text in yes] == ["a", "b", "one", "a", "S2A_x.y"]


def test_lists_of_items(tmp_path) -> None:
    one, two = (item(name, {"red": asset(f"{name}.tif", gsd=10)}) for name in ("one", "two.b"))
    found = write_item(tmp_path, {"type": "FeatureCollection", "features": [one, two]}, "items.json")
    assert items_in(str(found)) == (f"{found}#one", f"{found}#two.b")
    assert told(f"{found}#two.b").bands[0].path == str(tmp_path / "two.b.tif")
    (tmp_path / "scenes").mkdir()
    single = write_item(tmp_path / "scenes", one)
    links = [{"rel": "self", "href": "./collection.json"}, {"rel": "item", "href": "./scenes/item.json"}]
    static = write_item(tmp_path, {"type": "Collection", "stac_version": "1.0.0", "links": links}, "collection.json")
    (inside,) = items_in(str(static))
    assert told(inside).bands[0].path == str(single.parent / "one.tif")
    assert items_in(str(single)) == (str(single),)


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ("{", InputError, "is no JSON document"),
        ("<html>", InputError, "is a web page"),
        ("[1]", InputError, "holds list, no STAC document"),
        ({"type": "Topology"}, InputError, "is no STAC item but Topology"),
        ({"type": "FeatureCollection", "features": []}, InputError, "run its items with --each"),
        ({"type": "Feature", "stac_version": "1.0.0", "id": "a", "properties": {}}, InputError, "without 'assets'"),
        (item("", {}), InputError, "an item's id is ''"),
        (item("a", {"x": asset("x.tif")}), InputError, "none of its assets (x) is called like a band"),
        (item("a", {"red": asset("s3://b/x.tif")}), InputError, "s3: is not read here"),
        (item("a", {"red": eo_asset("x.tif", "B4", "red", scale="big")}), InputError, "states scale 'big', no number"),
        (item("a", {"red": eo_asset("x.tif", "B4", "red", scale=0, gsd=9)}), InputError, "states scale 0"),
    ],
)
def test_damaged_items_are_refused_in_one_line(tmp_path, content, error, said) -> None:
    path = tmp_path / "a.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(error) as caught:
        told(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_item_that_is_not_there(tmp_path) -> None:
    with pytest.raises(InputMissingError, match="No such file"):
        told(tmp_path / "a.json")
    found = write_item(tmp_path, {"type": "FeatureCollection", "features": [item("one", {})]}, "items.json")
    with pytest.raises(InputMissingError, match="holds no item 'two'"):
        told(f"{found}#two")
    with pytest.raises(UsageError, match="--each"):
        recognize([found, found])


@settings(max_examples=60)
@given(
    content=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["type", "id", "assets", "properties", "href", "eo:bands", "raster:bands", "red", "scale", "links"]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    ),
)
def test_no_document_breaks_the_intake(here, content) -> None:
    path = write_item(
        here,
        {"type": "Feature", "stac_version": "1", "id": "x"}
        | (content if isinstance(content, dict) else {"assets": content}),
        "f.json",
    )
    with suppress(GeosegError):
        told(path)
