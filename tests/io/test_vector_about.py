"""What a vector file says of its origin: model, licence, attribution."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import geopandas as gpd
import pyarrow.parquet as pq
import pyogrio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polygon_kit import write_polygons
from test_vector import polygons

from geoseg.io.vector import about_of, count_features
from geoseg.settings import VECTOR_SUFFIXES

ABOUT = {
    "LICENSE": "CC-BY-4.0 AND Apache-2.0",
    "ATTRIBUTION": 'Größe & <Co> "2020"; 森林',
    "MODEL": "dynamicworld 1",
    "GEOSEG_VERSION": "0.1",
    "DATETIME": "2020-02-29T10:00:00Z",
}


def metadata(path: Path) -> dict[str, str]:
    """What the format keeps, as another program reads it."""
    if path.suffix == ".parquet":
        found = pq.read_metadata(path).metadata
        return {k.decode(): v.decode() for k, v in found.items() if k not in {b"geo", b"ARROW:schema"}}
    info = pyogrio.read_info(path, layer=pyogrio.list_layers(path)[0, 0])
    return {**(info["layer_metadata"] or {})}


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet"])
def test_metadata_come_back(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"o{suffix}"
    write_polygons(polygons(), path, layer="land", about=ABOUT)
    assert metadata(path) == ABOUT
    write_polygons(polygons(), tmp_path / f"plain{suffix}", layer="land")
    assert metadata(tmp_path / f"plain{suffix}") == {}


def test_geojson_describes_itself(tmp_path: Path) -> None:
    write_polygons(polygons(), tmp_path / "o.geojson", layer="land", about=ABOUT)
    document = json.loads((tmp_path / "o.geojson").read_text(encoding="utf-8"))
    for key, value in ABOUT.items():
        assert f"{key}: {value}" in document["description"]
    assert len(gpd.read_file(tmp_path / "o.geojson")) == 5


def test_geopackage_with_metadata_is_sound(tmp_path: Path) -> None:
    """Its layer says it; the row stands in the metadata extension, which is announced, and in no file beside."""
    path = tmp_path / "o.gpkg"
    write_polygons(polygons(), path, layer="land", about=ABOUT)
    assert pyogrio.read_info(path, layer="land")["layer_metadata"] == ABOUT
    assert [file.name for file in tmp_path.iterdir()] == ["o.gpkg"]
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        references = database.execute("SELECT reference_scope, table_name FROM gpkg_metadata_reference").fetchall()
        extensions = {row[0] for row in database.execute("SELECT table_name FROM gpkg_extensions")}
        contents = dict(database.execute("SELECT table_name, data_type FROM gpkg_contents"))
        (version,) = database.execute("PRAGMA user_version").fetchone()
    database.close()
    assert sorted(references, key=str) == [("table", "land")]
    assert {"gpkg_metadata", "gpkg_metadata_reference"} <= extensions
    assert contents == {"land": "features", "layer_styles": "attributes"}
    assert version == 10300
    write_polygons(polygons(), tmp_path / "plain.gpkg", layer="land")
    with sqlite3.connect(tmp_path / "plain.gpkg") as database:
        assert not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'gpkg_metadata'").fetchall()
    database.close()


@pytest.mark.parametrize("suffix", VECTOR_SUFFIXES)
def test_metadata_keep_files_reproducible(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OGR_CURRENT_DATE", "2020-01-01T00:00:00.000Z")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_polygons(polygons(), tmp_path / folder / f"o{suffix}", layer="land", about=ABOUT)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    assert count_features(tmp_path / "a" / f"o{suffix}") == 5


def test_tags_of_a_class_raster_become_metadata() -> None:
    tags = {
        "GEOSEG_MODEL": "dynamicworld",
        "GEOSEG_MODEL_VERSION": "1",
        "GEOSEG_MODEL_LICENSE": " Apache-2.0 ",
        "GEOSEG_MODEL_ATTRIBUTION": "one\r\ntwo\x0b\x01three",
        "GEOSEG_DATETIME": "",
        "AREA_OR_POINT": "Area",
    }
    assert about_of(tags) == {"LICENSE": "Apache-2.0", "ATTRIBUTION": "one two three", "MODEL": "dynamicworld 1"}
    assert about_of({}) == {}
    assert about_of({"GEOSEG_MODEL": "m"}) == {"MODEL": "m"}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_fits_into_every_format(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Control characters would make a GeoPackage's XML unreadable."""
    about = about_of({"GEOSEG_MODEL_ATTRIBUTION": text})
    folder = tmp_path_factory.mktemp("any")
    for suffix in (".gpkg", ".fgb", ".parquet"):
        write_polygons(polygons(), folder / f"o{suffix}", layer="land", about=about)
        assert metadata(folder / f"o{suffix}") == about
