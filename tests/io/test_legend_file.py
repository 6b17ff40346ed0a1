"""Legend files of all forms, and the ones that come with geoseg."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoseg.classes import ClassScheme, LandClass, generated_color
from geoseg.errors import ConfigError, GeosegError, InputMissingError
from geoseg.io.legend_file import read_legend_file
from geoseg.legend import Legend
from geoseg.model.file import find_model
from geoseg.model.import_dynamicworld import CLASSES as DYNAMIC_WORLD
from geoseg.shipped import shipped
from geoseg.style import raster_qml, vector_qml

NAMES = ("森林", "Prés «humides», étangs", "Вода; лёд | снег")
SCHEME = ClassScheme(
    tuple(LandClass(code, name, (code, 2, 200)) for code, name in zip((1, 7, 200), NAMES, strict=True))
)
VECTOR_OF_3_40 = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.40.1"><renderer-v2 type="categorizedSymbol" attr="class_id">
<categories>
 <category value="5" type="long" label="Wald &amp; Wiese" symbol="1" render="true"/>
 <category value="6" type="long" label="6" symbol="0" render="true"/>
 <category value="8" type="double" label="See" symbol="2" render="true"/>
 <category value="" type="string" label="" symbol="2" render="true"/>
</categories>
<symbols>
 <symbol name="0" type="fill"><data_defined_properties><Option type="Map"><Option name="color" value="9"/></Option>
  </data_defined_properties><layer class="SimpleFill"><Option type="Map">
  <Option name="shadow" type="Map"><Option name="color" value="9,9,9,255" type="QString"/></Option>
  <Option name="color" value="229,198,154,255,rgb:0.898039,0.776470,0.603921,1" type="QString"/></Option></layer>
 </symbol>
 <symbol name="1" type="fill"><layer class="SimpleFill"><Option type="Map">
  <Option name="color" value="1,2,3,128" type="QString"/><Option name="outline_color" value="4,4,4,255"/></Option>
  </layer>
  <layer class="SimpleLine"><Option type="Map"><Option name="line_color" value="7,7,7,255"/></Option></layer></symbol>
 <symbol name="2" type="fill"><layer class="SimpleFill"><prop k="color" v="0,0,250,255"/></layer></symbol>
</symbols></renderer-v2></qgis>"""


def said(legend: Legend) -> list[tuple[int, str, str, str, tuple[str, ...]]]:
    """Code, name, color, group, sources; empty where the file says nothing."""
    return [
        (
            c.code,
            "" if (c.code, "name") in legend.unsaid else c.name,
            "" if (c.code, "color") in legend.unsaid else c.hex_color,
            c.group,
            sources,
        )
        for c, sources in zip(legend.scheme.classes, legend.sources, strict=True)
    ]


def read(path: Path, text: str, encoding: str = "utf-8") -> Legend:
    path.write_text(text, encoding)
    return read_legend_file(path)


def test_yaml(tmp_path: Path) -> None:
    found = read(
        tmp_path / "a.yaml",
        """
        classes:
        - {code: 1, name: Лес, color: "#006400", group: vegetation, from: [trees, 10]}
        - {code: 20, name: 1984, color: [1, 2, 3], from: water}
        - {code: 30}
        """,
    )
    assert said(found) == [
        (1, "Лес", "#006400", "vegetation", ("trees", "10")),
        (20, "1984", "#010203", "", ("water",)),
        (30, "", "", "", ()),
    ]
    assert found.scheme.by_code(30) == LandClass(30, "class 30", generated_color(30))
    assert found.name == "a.yaml"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("code,name,color,group,from\n1,森林,#0064ff,g,a|10\n2,x,,,\n", "utf-8"),
        ("Value;Label;R;G;B;group;from\r\n1;森林;0;100;255;g; a | 10 \r\n\r\n2;x;;;;;\r\n", "utf-8-sig"),
        ('code\tname\tcolour\tgroup\tfrom\n1.0\t"森林"\t#0064FF\tg\ta|10\n2\tx\t\t\t', "utf-8"),
    ],
)
def test_csv_of_every_habit(tmp_path: Path, text: str, encoding: str) -> None:
    found = read(tmp_path / "a.csv", text, encoding)
    assert said(found) == [(1, "森林", "#0064ff", "g", ("a", "10")), (2, "x", "", "", ())]


def test_color_tables_of_esri_and_qgis(tmp_path: Path) -> None:
    found = read(
        tmp_path / "a.clr",
        "# map\n1 0 100 255\n2 9 9 9 255\n3 9 9 9 255 Nasse Wiese\n4 9 9 9 Été 2\n5 9 9 9 2021 fire\n",
    )
    assert [(row[0], row[1], row[2]) for row in said(found)] == [
        (1, "", "#0064ff"),
        (2, "", "#090909"),
        (3, "Nasse Wiese", "#090909"),
        (4, "Été 2", "#090909"),
        (5, "2021 fire", "#090909"),
    ]
    head = "# QGIS Generated Color Map Export File\nINTERPOLATION:EXACT\n"
    export = read(tmp_path / "b.txt", f"{head}11,70,107,159,255,Open, wide water\n12,1,2,3,255,12\n")
    assert [row[:3] for row in said(export)] == [
        (11, "Open, wide water", "#466b9f"),
        (12, "", "#010203"),
    ]


@pytest.mark.parametrize("style", [raster_qml, vector_qml])
def test_the_styles_that_geoseg_writes_come_back(tmp_path: Path, style) -> None:
    found = read(tmp_path / "a.qml", style(SCHEME))
    assert found.scheme == SCHEME
    assert found.unsaid == frozenset()


def test_a_vector_style_of_qgis_old_and_new(tmp_path: Path) -> None:
    found = read(tmp_path / "a.qml", VECTOR_OF_3_40)
    assert [row[:3] for row in said(found)] == [
        (5, "Wald & Wiese", "#010203"),
        (6, "", "#e5c69a"),
        (8, "See", "#0000fa"),
    ]


def test_a_class_raster_is_a_legend(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    profile = {"crs": "EPSG:32618", "transform": Affine(10, 0, 5e5, 0, -10, 4e6), "dtype": "uint8", "count": 1}
    with rasterio.open(path, "w", driver="GTiff", width=2, height=1, **profile) as dataset:
        dataset.write(np.array([[[1, 7]]], np.uint8))
        dataset.write_colormap(1, {1: (1, 2, 3), 7: (7, 7, 7)})
        dataset.update_tags(**{"1": "森林"})
    assert [row[:3] for row in said(read_legend_file(path))] == [(1, "森林", "#010203"), (7, "", "#070707")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "classes: []", "classes must be a list of classes"),
        ("a.yaml", "classes: [{code: 1}]\nlegend: x", "key 'legend' is unknown"),
        ("a.yaml", "classes:\n- {code: 1, colour: red}", "class 1 of the list: key 'colour'"),
        ("a.yaml", "classes:\n- code: 1\n  color: #006400\n", 'write color: "#006400"'),
        ("a.yaml", "classes:\n- {code: 1, color: green}", "class 1 of the list: color 'green'"),
        ("a.yaml", "classes:\n- {code: 1, color: [1, 2, 300]}", "color 1, 2, 300 is not three"),
        ("a.yaml", "classes:\n- {code: 1, name: a, from: [no]}", "from False is not text; put it in quotes"),
        ("a.yaml", "classes:\n- {name: a}", "code None is no whole number"),
        ("a.yaml", "classes:\n- {code: true, name: a}", "code True is no whole"),
        ("a.yaml", "classes:\n- {code: 1, name: a, thing: 1}", "thing 1 is neither true nor false"),
        ("a.yaml", "classes:\n- 7", "7 is no mapping"),
        ("a.csv", "code,name,colr\n1,a,b", "column 'colr' is unknown"),
        ("a.csv", "name\na", "must have one code"),
        ("a.csv", "code,value\n1,2", "none of them twice"),
        ("a.csv", "code,name\n1,a\n\n1.5,b", "line 4: code '1.5'"),
        ("a.csv", "code,name\n1,a,b", "line 2 has not 2 cells"),
        ("a.csv", "code,name,r,g,b\n1,a,1,,2", "line 2: color 1, , 2 is not three"),
        ("a.csv", 'code,name\n1,"a', "after line 1: unexpected end"),
        ("a.csv", "code,name\n1,a\n1,b", "legend a.csv: class code 1 occurs twice"),
        ("a.csv", "code,name\n", "at least one class"),
        ("a.clr", "1 2 3", "line 1: '1 2 3' is not of the form"),
        ("a.clr", "\n1 2 3 x", "line 2: color 2, 3, x"),
        ("a.qml", "<qgis", "is not XML"),
        ("a.qml", "<qgis/>", "has the renderer none"),
        (
            "a.qml",
            '<qgis><renderer-v2 type="RuleRenderer"/></qgis>',
            "has the renderer RuleRenderer; style the layer by",
        ),
        (
            "a.qml",
            VECTOR_OF_3_40.replace('value="5"', 'value="forest"'),
            "value 'forest' .* categorize by the class code",
        ),
        ("a.qml", VECTOR_OF_3_40.replace("1,2,3,128", "1,2,300,128"), "color '1,2,300,128' is not"),
        ("a.qml", raster_qml(SCHEME).replace("#0102c8", "red"), "value 1: color 'red'"),
        ("a.qml", '<!DOCTYPE q [<!ENTITY a "b">]><qgis>&a;</qgis>', "defines the XML entity 'a'"),
        ("a.sld", "<x/>", "is no class raster, nor does its suffix say"),
    ],
)
def test_errors_name_file_place_and_value(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path / name, text)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_and_texts_without_end_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not UTF-8"):
        read(tmp_path / "a.csv", "code,name\n1,é", "latin-1")
    with (tmp_path / "b.qml").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(ConfigError, match="1073741824 bytes; a legend has at most"):
        read_legend_file(tmp_path / "b.qml")


@pytest.mark.parametrize("text", ["forest", "./worldcover", "none.csv", "worldcover+none.csv", "worldcover+"])
def test_what_is_not_there_is_missing(tmp_path: Path, monkeypatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputMissingError, match="corine1, dynamicworld, ipcc, nlcd, worldcover"):
        read_legend_file(text)


def test_a_word_is_a_shipped_legend_whatever_lies_in_the_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nlcd").write_text("not this")
    assert read_legend_file("nlcd").scheme.by_code(11).name == "Open Water"


def shipped_sources() -> dict[str, ClassScheme]:
    schemes = {name: read_legend_file(name).scheme for name in ("worldcover", "nlcd", "dynamicworld")}
    return schemes | {"landcover": find_model("landcover").spec.classes}


def test_every_shipped_legend_reads_and_is_named_in_the_manual() -> None:
    names = sorted(path.stem for path in shipped("classes").glob("*.yaml"))
    assert names == ["corine1", "dynamicworld", "ipcc", "nlcd", "worldcover"]
    manual = (shipped("classes") / "README.md").read_text("utf-8")
    for name in names:
        legend = read_legend_file(name)
        assert legend.unsaid == frozenset()
        assert f"`{name}`" in manual or f"--legend {name}`" in manual
        assert len({c.color for c in legend.scheme.classes}) == len(legend.scheme)


@pytest.mark.parametrize("target", ["corine1", "ipcc"])
@pytest.mark.parametrize("source", ["worldcover", "nlcd", "dynamicworld", "landcover"])
def test_corine_and_ipcc_take_every_class_of_the_known_maps(target: str, source: str) -> None:
    scheme = shipped_sources()[source]
    merge = read_legend_file(target).onto(scheme)
    assert len(merge.index_of) == len(scheme)
    by_name = dict(zip(scheme.names, (merge.scheme.names[i] for i in merge.index_of), strict=True))
    water = next(name for name in by_name if "water" in name.lower())
    assert by_name[water] == {"corine1": "Water bodies", "ipcc": "Wetlands"}[target]


def test_dynamic_world_is_what_the_model_says() -> None:
    colors = [(c >> 16, c >> 8 & 255, c & 255) for _, c in DYNAMIC_WORLD]
    scheme = read_legend_file("dynamicworld").scheme
    assert [(c.code, c.name, c.color) for c in scheme.classes] == [
        (code, name, color) for code, ((name, _), color) in enumerate(zip(DYNAMIC_WORLD, colors, strict=True))
    ]


def test_two_legends_in_a_row(tmp_path: Path) -> None:
    bare = ClassScheme((LandClass(90, "class 90", (0, 0, 0)), LandClass(95, "class 95", (0, 0, 0))))
    for first, codes in (("worldcover", (4, 3)), ("nlcd", (3, 4))):  # the same codes mean other things
        merge = read_legend_file(f"{first}+corine1").onto(bare)
        assert tuple(merge.scheme.codes[i] for i in merge.index_of) == codes
    odd = tmp_path / "a+b.csv"
    assert read(odd, "code,name\n1,x").scheme.names == ("x",)
    with pytest.raises(GeosegError):
        read_legend_file(f"{tmp_path}/a+b.yaml")
