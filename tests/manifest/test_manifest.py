"""Every form of manifest gives the same scenes; what is wrong in one is told with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geoseg.errors import ConfigError, InputError, InputMissingError, UsageError
from geoseg.ledger.key import key_of
from geoseg.manifest.read import read_scenes
from geoseg.settings import ReadSettings, RunSettings

CONFIGS = Path(__file__).parents[2] / "configs" / "batch"


def scenes(tmp_path, text: str, name: str = "m.yaml", **how):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_scenes([str(path)], **how)


def told(tmp_path, text: str, name: str = "m.yaml") -> str:
    with pytest.raises((ConfigError, UsageError, InputError, InputMissingError)) as caught:
        scenes(tmp_path, text, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_settings_lie_over_one_another(tmp_path) -> None:
    """Flags over the scene's own over defaults over --config. Mutation: defaults joined over the scene's own."""
    found = scenes(
        tmp_path,
        """
defaults: {read: {nodata: 0, valid: any}, vector: {mmu: 1ha, simplify: 5}}
name: "{parent}_{stem}"
folder: "{n:03}/{name}"
min_clear: 30%
scenes:
  - north/a.tif
  - inputs: [b.tif, c.tif]
    name: pair
    min_clear: 0.5
    read: {together: stack, valid: all}
    vector: {simplify: 7}
""",
        base={"vector": {"mmu": "9px", "smooth": True}},
        finish=lambda settings: settings,
    )
    first, second = found
    assert (first.name, first.folder, first.inputs, first.min_clear) == (
        "north_a",
        "001/north_a",
        ("north/a.tif",),
        0.3,
    )
    assert (second.name, second.inputs, second.min_clear) == ("pair", ("b.tif", "c.tif"), 0.5)
    assert (first.settings.read.valid, second.settings.read.valid) == ("any", "all")
    assert (first.settings.read.nodata, second.settings.read.nodata) == ("0", "0")
    vectors = [(s.settings.vector.mmu, s.settings.vector.simplify, s.settings.vector.smooth) for s in found]
    assert vectors == [("1ha", 5, True), ("1ha", 7, True)]
    assert second.settings.output.name == "pair"


def test_a_table_says_the_same_as_yaml(tmp_path) -> None:
    table = scenes(
        tmp_path,
        "input,name,min_clear,read.bands,read.scale,read.together,predict.confidence\n"
        'a.tif,,,"red=1,nir=2",0.0001,,\n'
        "b.tif; c.tif,pair,40%,,,stack,true\n",
        "m.csv",
    )
    yaml = scenes(
        tmp_path,
        "scenes:\n"
        "  - {inputs: a.tif, read: {bands: [red=1, nir=2], scale: 0.0001}}\n"
        "  - {inputs: [b.tif, c.tif], name: pair, min_clear: 40%, read: {together: stack},"
        " predict: {confidence: true}}\n",
    )
    assert table == yaml
    assert table[0].settings.read == ReadSettings(bands=("red=1", "nir=2"), scale=(0.0001,))


def test_globs_folders_and_scenes_by_themselves(tmp_path) -> None:
    incoming = tmp_path / "incoming"
    (incoming / "S2A_MSIL2A_X.SAFE").mkdir(parents=True)
    (incoming / "bands").mkdir()
    (incoming / "notes").mkdir()
    (incoming / "out").mkdir()
    for name in ("a.tif", "b.TIF", "c.txt", ".d.tif", "e.zip", "bands/B2.tif", "out/x.tif"):
        (incoming / name).write_bytes(b"")
    whole = read_scenes([str(incoming)], results=incoming / "out")
    assert [scene.name for scene in whole] == ["S2A_MSIL2A_X", "a", "b", "bands", "e"]
    assert [scene.name for scene in read_scenes([f"{incoming}/[a-b].*"])] == ["a", "b"]
    product = incoming / "S2A_MSIL2A_X.SAFE"
    assert read_scenes([str(product)])[0].inputs == (str(product),)
    several = read_scenes([f"{incoming}/a.tif", f"{incoming}/b.TIF"])
    assert [scene.name for scene in several] == ["a", "b"]


def test_items_are_scenes_and_their_file_is_looked_at(tmp_path) -> None:
    features = [{"type": "Feature", "id": name, "properties": {}, "assets": {}} for name in ("a:1", "b")]
    found = scenes(tmp_path, json.dumps({"type": "FeatureCollection", "features": features}), "items.json")
    place = str(tmp_path / "items.json")
    assert [(scene.name, scene.inputs) for scene in found] == [("a_1", (f"{place}#a:1",)), ("b", (f"{place}#b",))]
    assert place in key_of(found[0])["files"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("scenes: []", ["must list its scenes"]),
        ("scene: [a.tif]", ["unknown key 'scene'", "scenes"]),
        ("scenes:\n  - a.tif\n  - {input: b.tif}", ["scene 2", "unknown key 'input'"]),
        ("scenes:\n  - {name: b}", ["scene 1", "inputs: [a.tif]"]),
        ("scenes:\n  - {inputs: a.tif, glob: b}", ["scene 1", "inputs: [a.tif]"]),
        ("scenes:\n  - {inputs: []}", ["scene 1"]),
        ("scenes:\n  - {inputs: [1, {}]}", ["scene 1: inputs"]),
        ("scenes:\n  - {inputs: a.tif, read: {scal: 1}}", ["scene 1", "read.scal"]),
        ("scenes:\n  - {inputs: a.tif, read: 5}", ["scene 1: read", "mapping"]),
        ("scenes:\n  - {inputs: a.tif, name: a/b}", ["scene 1", "'a/b'"]),
        ("scenes:\n  - {inputs: a.tif, min_clear: 3}", ["scene 1", "'3' is no share"]),
        ("scenes: [a.tif, x/a.tif]", ["two scenes are called 'a'", "{parent}_{stem}"]),
        ("name: '{date}'\nscenes: [a.tif]", ["'{date}'", "{stem}"]),
        ("folder: '../{name}'\nscenes: [a.tif]", ["'../a'", "inside the batch's"]),
        ("defaults: {output: {name: x}}\nscenes: [a.tif]", ["output.name"]),
        ("scenes:\n  - glob: '/nowhere/*.tif'", ["nothing matches"]),
        ("scenes: [a.tif]\nscenes: [b.tif]", ["'scenes' occurs twice"]),
    ],
)
def test_a_bad_manifest_is_told_with_its_place(tmp_path, text, parts) -> None:
    said = told(tmp_path, text)
    assert [part for part in parts if part not in said] == []


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "'input'"),
        ("name,path\n", "'input'"),
        ("input,read.bnds\na.tif,1\n", "did you mean 'read.bands'"),
        ("input,input\na,b\n", "occurs twice"),
        ("input,name\na.tif\n", "line 2 has 1 cells, the header 2"),
        ("input,name\n,x\n", "line 2 has no input"),
        ("input\n", "no scene"),
        ("input,predict.chip\na.tif,big\n", "predict.chip"),
    ],
)
def test_a_bad_table_is_told_with_its_line(tmp_path, text, part) -> None:
    assert part in told(tmp_path, text, "m.csv")


@pytest.mark.parametrize(
    ("document", "part"),
    [
        ("{", "no JSON"),
        ("[]", "no STAC document"),
        ('{"type": "Catalog"}', "holds no STAC items"),
        ('{"type": "FeatureCollection", "features": []}', "holds no STAC items"),
    ],
)
def test_a_bad_list_of_items_is_told(tmp_path, document, part) -> None:
    assert part in told(tmp_path, document, "m.json")


def test_a_manifest_that_is_not_there(tmp_path) -> None:
    for name in ("m.yaml", "m.csv", "m.json", "*.tif"):
        with pytest.raises(InputMissingError):
            read_scenes([str(tmp_path / name)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputMissingError, match="holds no raster"):
        read_scenes([str(tmp_path / "empty")])


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("example.*")), ids=lambda path: path.name)
def test_the_examples_load_and_name_files_that_are_there(path, monkeypatch) -> None:
    monkeypatch.chdir(CONFIGS.parents[1])
    found = read_scenes([str(path)])
    assert len(found) == 2
    assert all(Path(file).is_file() for scene in found for file in scene.inputs)
    assert found[0].settings.vector.mmu == "9px"
    assert found[0].settings != RunSettings()
