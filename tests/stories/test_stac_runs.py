"""STAC in, polygons out: searches on a loopback API, item files, masks and signatures; no socket for local items."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import stac_kit
from builders import write_raster
from cli_kit import BANDS, codes_of, cut, geoseg, names_in, polygons_in
from loopback import Site, reply
from pytest_socket import disable_socket, enable_socket
from stac_kit import api, as_json, asset, eo_asset, item, write_item

from geoseg.errors import InputError, PolicyError, TemporaryError, UsageError
from geoseg.io import handles, ranges, signing
from geoseg.io.stac_search import StacSearch, search_items

SEARCH = ("--collection", "coast", "--bbox", "-76,37,-75,38", "--datetime", "2023-06-01/2023-06-30")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(ranges, "PATIENCE", ranges.Patience(tries=3, first_wait_s=0.0, longest_wait_s=0.0))
    monkeypatch.setattr(ranges, "_pieces", ranges._Pieces())
    monkeypatch.setattr(signing, "_signatures", {})
    yield
    handles.close_all()


@pytest.fixture(scope="module")
def scenes(sample, tmp_path_factory) -> dict[str, Path]:
    """Three pieces of coast without any tag of scale, offset or band."""
    folder, found = tmp_path_factory.mktemp("coast"), {}
    for number in range(3):
        whole = cut(sample, folder / f"tagged{number}.tif", col=380 + 40 * number, width=60, height=50)
        with rasterio.open(whole) as dataset:
            found[f"p{number}.tif"] = write_raster(
                folder / f"p{number}.tif", dataset.read(), transform=dataset.transform, crs=dataset.crs, nodata=0
            )
    return found


def scene_item(number: int, href: str, *, cloud: float = 5.0, **stated: float) -> dict:
    """An item of six bands in one file; `stated`: scale, offset."""
    bands = [{"eo:common_name": name, **{f"raster:{key}": n for key, n in stated.items()}} for name in BANDS]
    content = {"image": asset(href, bands=bands, gsd=10)}
    day = f"2023-06-{20 - number:02d}T15:58:21Z"  # the later numbers are older
    return item(f"coast.{number}", content, collection="coast", version="1.1.0", datetime=day, eo__cloud_cover=cloud)


@pytest.fixture
def server(scenes) -> Iterator[Site]:
    """Four items on two pages: three scenes, and one that is too cloudy."""
    items = [scene_item(n, f"../../../files/p{n}.tif", scale=0.0001, offset=0.0) for n in range(3)]
    items.append(scene_item(3, "../../../files/p9.tif", cloud=80.0))
    with api(items, {name: path.read_bytes() for name, path in scenes.items()}) as served:
        yield served


def test_a_search_ends_in_polygons(server, scenes, model, tmp_path) -> None:
    search = ("--stac", server.url, *SEARCH, "--max-cloud", "20", "--sign", "stac_kit:sign", "--each", "--json")
    done = geoseg("run", *search, "-m", model, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    found = json.loads(done.out)["scenes"]
    assert [Path(scene["record"]).stem for scene in found] == ["coast.2", "coast.1", "coast.0"]
    assert sum(path.startswith("/search") for path in server.asked) == 2
    assert any("bbox=-76.0%2C37.0%2C-75.0%2C38.0" in path and "2023-06-01" in path for path in server.asked)
    for number in (0, 2):
        here = tmp_path / f"local{number}"
        local = [
            scenes[f"p{number}.tif"],
            "--scale",
            "0.0001",
            "--bands",
            ",".join(f"{b}={i}" for i, b in enumerate(BANDS, 1)),
        ]
        assert geoseg("run", *local, "-m", model, "-o", here).code == 0
        np.testing.assert_array_equal(
            codes_of(tmp_path / "out" / f"coast.{number}.classes.tif"), codes_of(here / f"p{number}.classes.tif")
        )
        polygons = polygons_in(tmp_path / "out" / f"coast.{number}.polygons.gpkg")
        assert len(polygons) == len(polygons_in(here / f"p{number}.polygons.gpkg")) > 3
    taken = json.loads((tmp_path / "out" / "coast.1.json").read_text())["properties"]["datetime"]
    assert taken == "2023-06-19T15:58:21Z"
    assert any("?sig=CANARY" in path for path in server.asked)
    kept = [path.read_bytes() for path in (tmp_path / "out").iterdir()]
    assert not [text for text in (*kept, done.out.encode(), done.err.encode()) if b"CANARY" in text or b"#sign" in text]
    again = geoseg("run", *search, "-m", model, "-o", tmp_path / "out")
    assert [scene["up_to_date"] for scene in json.loads(again.out)["scenes"]] == [True] * 3


def test_several_found_need_a_word_on_what_they_are(server, model, tmp_path) -> None:
    done = geoseg("run", "--stac", server.url, *SEARCH, "-m", model, "-o", tmp_path / "out")
    assert (done.code, "--each" in done.last) == (2, True)
    assert "found 4 STAC items:" in done.err
    assert "coast.3 (2023-06-17T15:58:21Z, cloud 80 %)" in done.err


def test_nothing_found_is_an_input_that_is_missing(server, model, tmp_path) -> None:
    done = geoseg("run", "--stac", server.url, "--collection", "elsewhere", "-m", model, "-o", tmp_path / "out")
    assert (done.code, "holds no item that matches" in done.last) == (66, True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("a.tif", "--stac", "http://h", "--collection", "c"), "leave a.tif out"),
        (("--stac", "http://h"), "say which collection"),
        (("--stac", "ftp://h", "--collection", "c"), "no http(s) address"),
        (("--stac", "http://h", "--collection", "c", "--bbox", "1,2,3"), "--bbox 1,2,3 must be four numbers"),
        (("--stac", "http://h", "--collection", "c", "--bbox", "1,9,3,4"), "south below north"),
        (("--stac", "http://h", "--collection", "c", "--datetime", "June"), "--datetime 'June' is no time"),
        (("--stac", "http://h", "--collection", "c", "--max-cloud", "101"), "--max-cloud 101 must be percent"),
        (("a.tif", "--max-cloud", "20"), "--max-cloud says what to search for: name the API with --stac"),
        ((), "no INPUT given"),
    ],
)
def test_searches_that_contradict_themselves(given, said, tmp_path) -> None:
    done = geoseg("run", *given, "-o", tmp_path / "out")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert said in done.last


def test_items_without_scale_are_not_scaled(scenes, tmp_path) -> None:
    plain = write_item(tmp_path, scene_item(0, str(scenes["p0.tif"])))
    report = json.loads(geoseg("info", plain, "--json").out)
    assert report["radiometry"] == "none"
    assert {(band["scale"], band["offset"]) for band in report["bands"]} == {(1.0, 0.0)}
    assert any("neither scale nor offset" in note for note in report["notes"])
    stated = write_item(tmp_path, scene_item(0, str(scenes["p0.tif"]), scale=0.5, offset=-3.0), "stated.json")
    report = json.loads(geoseg("info", stated, "--json").out)
    assert report["radiometry"] == "metadata"
    assert {(band["scale"], band["offset"]) for band in report["bands"]} == {(0.5, -3.0)}


def test_local_items_open_no_socket(scenes, model, tmp_path) -> None:
    one, two = (scene_item(n, str(scenes[f"p{n}.tif"]), scale=0.0001, offset=0.0) for n in range(2))
    listed = write_item(tmp_path, {"type": "FeatureCollection", "features": [one, two]}, "items.json")
    disable_socket()
    try:
        done = geoseg("run", listed, "--each", "-m", model, "-o", tmp_path / "out", "-q")
    finally:
        enable_socket()
    assert done.code == 0, done.err
    assert {"coast.0.polygons.gpkg", "coast.1.polygons.gpkg"} <= names_in(tmp_path / "out")


def test_remote_masks_and_signatures(scenes, tmp_path, monkeypatch) -> None:
    """The scene classification on the server masks; every address is signed, none is shown."""
    monkeypatch.setattr(stac_kit, "SIGNED", [])
    with rasterio.open(scenes["p0.tif"]) as dataset:
        codes = np.full(dataset.shape, 4, "uint8")
        codes[10:20, 5:30] = 9
        scl = write_raster(tmp_path / "SCL.tif", codes, transform=dataset.transform, crs=dataset.crs)
        red = write_raster(
            tmp_path / "B04.tif", dataset.read(3), transform=dataset.transform, crs=dataset.crs, nodata=0
        )
    assets = {
        "red": eo_asset("../../../files/B04.tif", "B04", "red", scale=0.0001, offset=0.0, spatial_resolution=10),
        "scl": asset("../../../files/SCL.tif"),
    }
    bodies = {path.name: path.read_bytes() for path in (scl, red)}
    with api([item("S2A_1", assets, collection="sentinel-2-l2a")], bodies) as served:
        from geoseg.io.compose import open_scene
        from geoseg.io.masks import masked
        from geoseg.settings import ReadSettings

        url = f"{served.url}/collections/sentinel-2-l2a/items/S2A_1"
        scene = open_scene([url], ReadSettings(sign="stac_kit:sign"))
        assert (masked(scene.masks, scene.grid, scene.grid.window) == np.where(codes == 9, 1, 0)).all()
        assert sorted({Path(href).name for href in stac_kit.SIGNED}) == ["B04.tif", "SCL.tif"]
        asked = [path for path in served.asked if path.startswith("/files")]
        assert all("?sig=CANARY" in path for path in asked)
        done = geoseg("info", url, "--sign", "stac_kit:sign")
        assert "B04.tif:1" in done.out
        assert "SCL.tif masks cloud" in done.out
        assert "CANARY" not in done.out + done.err
        for text in (done.out, json.dumps([str(note) for note in scene.remarks])):
            assert "#sign" not in text


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (reply(status=503), 75),
        (reply(status=429), 75),
        (reply(status=403), 77),
        (reply(status=404), 66),
        (reply(status=400), 65),
    ],
)
@pytest.mark.parametrize("where", ["/", "/search"])
def test_what_an_api_may_answer(server, where, answer, code, tmp_path) -> None:
    server.replies[where] = answer
    done = geoseg("run", "--stac", f"{server.url}/?token=CANARY", *SEARCH, "-o", tmp_path / "out")
    assert done.code == code
    assert done.err.count("\n") == 1
    assert "CANARY" not in done.err
    if code == 75:
        assert "3 tries failed, run again later" in done.last


def test_failures_of_items_and_pixels(server, model, tmp_path) -> None:
    run = ("run", f"{server.url}/collections/coast/items/coast.0", "-m", model, "-o", tmp_path / "out")
    whole = server.replies["/files/p0.tif"]
    server.replies["/files/p0.tif"] = reply(status=503)
    assert geoseg(*run).code == 75
    server.replies["/files/p0.tif"] = whole
    server.replies["/collections/coast/items/coast.0"] = reply(status=502)
    assert geoseg(*run).code == 75
    assert not [name for name in names_in(tmp_path) if name != "out"]


def test_what_is_no_api(server) -> None:
    asked = StacSearch(url=server.url, collections=("coast",))
    for content, error in (({"type": "Catalog"}, InputError), ([], InputError)):
        server.replies["/"] = as_json(content)
        with pytest.raises(error, match="is no STAC API"):
            search_items(asked)


@pytest.mark.parametrize(
    ("own", "href"),
    [
        ("https://host/items/coast.0.json?sig=1", "https://host/items/coast.0.json?sig=1"),
        ("https://evil/x.tif#sign=os:system", None),
        ("https://evil/a.json#sign=os:system", "https://evil/a.json"),
        ("file:///etc/a.json", None),
        (None, None),
    ],
)
def test_where_an_item_stands_and_no_hook_of_a_servers(own, href) -> None:
    one = scene_item(0, "x.tif") | {"links": [] if own is None else [{"rel": "self", "href": own}]}
    with api([one], {}) as served:
        (found,) = search_items(StacSearch(url=served.url, collections=("coast",)))
        assert found.href == (href or f"{served.url}/collections/coast/items/coast.0")


def test_no_server_at_all() -> None:
    with pytest.raises(TemporaryError, match="cannot be reached"):
        search_items(StacSearch(url="http://127.0.0.1:9", collections=("coast",)))


def test_pages_that_never_end_do(server, monkeypatch) -> None:
    from geoseg.io import stac_search

    monkeypatch.setattr(stac_search, "MOST_ITEMS", 3)
    with pytest.raises(PolicyError, match="more than 3 items"):
        search_items(StacSearch(url=server.url, collections=("coast",)))


def test_times_to_search_by() -> None:
    for fine in ("2023", "2023-06", "2023-06-15", "2023-06-01/2023-06-30", "../2023-06-30", "2023-06-15T10:00:00Z/.."):
        assert StacSearch(url="http://h", collections=("c",), datetime=fine).datetime == fine
    with pytest.raises(UsageError):
        StacSearch(url="http://h", collections=("c",), datetime="2023-06-15/")


@pytest.mark.slow
def test_a_real_scene_from_an_api_is_the_scene_from_the_disk(shared, tmp_path) -> None:
    """Sentinel-2 of 2016 in two files of two pixel sizes, whose grids differ, with the bundled model."""
    folder = shared / "virginia_s2_l1c"
    names = {"s2_10m.tif": ("B02", "B03", "B04", "B08"), "s2_20m.tif": ("B05", "B06", "B07", "B8A", "B11", "B12")}
    assets = {}
    for name, bands in names.items():
        eyes = [{"name": band} for band in bands]
        rasters = [{"scale": 0.0001, "offset": 0, "nodata": 0, "spatial_resolution": int(name[3:5])} for _ in bands]
        href = f"../../../files/{name}"
        assets[name[3:6]] = asset(href, **{"eo:bands": eyes, "raster:bands": rasters})
    scene = item("S2A_MSIL1C_virginia", assets, collection="sentinel-2-l1c", eo__cloud_cover=0.0)
    with api([scene], {name: (folder / name).read_bytes() for name in names}) as served:
        search = ("--stac", served.url, "--collection", "sentinel-2-l1c", "--max-cloud", "10")
        done = geoseg("run", *search, "-o", tmp_path / "api")
    assert done.code == 0, done.err
    bands = "blue=B02,green=B03,red=B04,nir=B08,swir16=B11,swir22=B12"
    local = geoseg(
        "run", *(folder / name for name in names), "--stack", "--bands", bands, "--scale", "0.0001", "-o", tmp_path
    )
    assert local.code == 0, local.err
    one, other = tmp_path / "api" / "S2A_MSIL1C_virginia", tmp_path / "s2_10m"
    np.testing.assert_array_equal(codes_of(Path(f"{one}.classes.tif")), codes_of(Path(f"{other}.classes.tif")))
    found, expected = (polygons_in(Path(f"{stem}.polygons.gpkg")) for stem in (one, other))
    assert found.geometry.geom_equals(expected.geometry).all()
    assert len(found) > 1000
