"""`geoseg train SCENE LABELS`: a recipe is made up, trained by, and kept; the label check alone."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import rasterio
import yaml
from builders import write_raster
from cli_kit import codes_of, geoseg, names_in
from labelmaker import box, write_shapes

from geoseg.classes import ClassScheme, LandClass, parse_color
from geoseg.model.file import read_spec
from geoseg.training import starter as starter_module
from geoseg.training.class_rows import class_rows
from geoseg.training.recipe import read_recipe

HEIGHT, WIDTH = 192, 256


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> object:
    """Water is dark in nir, wood bright; both drawn as boxes all over the scene."""
    folder = tmp_path_factory.mktemp("labels")
    rng = np.random.default_rng(0)
    wood = (np.arange(WIDTH) // 16 + (np.arange(HEIGHT) // 16)[:, None]) % 2 == 0
    data = rng.normal((600, 400), 40, (HEIGHT, WIDTH, 2)).transpose(2, 0, 1)
    data[1] += np.where(wood, 3000, 0)
    path = write_raster(folder / "scene.tif", data.round().astype(np.uint16), names=("red", "nir"))
    with rasterio.open(path, "r+") as file:
        file.scales = (1e-4, 1e-4)
    shapes = []
    for row in range(4, HEIGHT, 32):
        for col in range(4, WIDTH, 32):
            shapes += [("wood", box(col, row, col + 8, row + 8)), ("Water", box(col + 16, row, col + 24, row + 8))]
    write_shapes(folder / "labels.gpkg", shapes)
    write_shapes(folder / "sloppy.gpkg", [("water ", shapes[0][1]), *shapes])
    return folder


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr(starter_module, "MOST_EPOCHS", 2)
    monkeypatch.setattr(starter_module, "LEAST_EPOCHS", 1)


def test_without_yaml_to_a_map_and_the_recipe_repeats_the_model(folder, tmp_path, quick) -> None:
    done = geoseg(
        "train", folder / "scene.tif", folder / "labels.gpkg", "--field", "kind", "-o", tmp_path / "m.safetensors"
    )
    assert done.code == 0, done.err
    assert {"m.safetensors", "m.yaml"} <= names_in(tmp_path)
    assert not [name for name in names_in(tmp_path) if name.endswith(".part")]
    spec = read_spec(tmp_path / "m.safetensors")
    assert (spec.name, spec.band_names, spec.classes.names) == ("m", ("red", "nir"), ("Water", "wood"))
    assert spec.unit == "reflectance"
    assert spec.training_data[0]["footprints"]
    assert spec.metrics["held_out"]["classes"]["wood"]["pixels"] > 0
    again = geoseg("train", tmp_path / "m.yaml", "-o", tmp_path / "n.safetensors")
    assert again.code == 0, again.err
    assert (tmp_path / "n.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()
    run = geoseg("run", folder / "scene.tif", "-m", tmp_path / "m.safetensors", "-o", tmp_path / "out")
    assert run.code == 0, run.err
    assert set(np.unique(codes_of(tmp_path / "out" / "scene.classes.tif"))) <= {1, 2}


def test_what_stands_there_is_kept(folder, tmp_path) -> None:
    call = ("train", folder / "scene.tif", folder / "labels.gpkg", "--field", "kind", "-o", tmp_path / "m.safetensors")
    (tmp_path / "m.yaml").write_text("mine")
    done = geoseg(*call)
    assert (done.code, "--overwrite" in done.last) == (73, True)
    assert names_in(tmp_path) == {"m.yaml"}
    assert (tmp_path / "m.yaml").read_text() == "mine"


def test_spellings_are_the_users_to_decide(folder, tmp_path) -> None:
    call = ("train", folder / "scene.tif", folder / "sloppy.gpkg", "--field", "kind")
    done = geoseg(*call, "-o", tmp_path / "m.safetensors")
    assert done.code == 78
    assert "labels: ['Water', 'water ']" in done.last
    assert "--merge-names" in done.last
    assert names_in(tmp_path) == set()
    check = geoseg(*call, "--check-only")
    assert (check.code, "'water '" in check.out) == (65, True)
    merged = geoseg(*call, "--check-only", "--merge-names", "--json")
    assert merged.code == 0, merged.err
    report = json.loads(merged.out)
    assert [row["name"] for row in report["classes"]] == ["Water", "wood"]
    assert [row["separate"] for row in report["classes"]] == [49, 48]
    assert report["errors"] == []
    assert any("overlap" in line for line in report["remarks"])


def test_check_only_prints_the_table_and_writes_nothing(folder, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = geoseg("train", folder / "scene.tif", folder / "labels.gpkg", "--field", "kind", "--check-only")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].split() == ["class", "separate", "pixels", "usable", "ha"]
    assert [line.split() for line in lines[2:4]] == [["Water", "48", "3,072", "30.7"], ["wood", "48", "3,072", "30.7"]]
    assert names_in(tmp_path) == set()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["scene.tif"], 2, "SCENE LABELS --field NAME"),
        (["scene.tif", "labels.gpkg"], 2, "say which field names the class; they have: kind"),
        (["scene.tif", "labels.gpkg", "--field", "nothing"], 2, "it has: kind"),
        (["scene.tif", "scene.tif", "labels.gpkg", "--field", "kind"], 2, "--stack"),
        (["scene.tif", "labels.gpkg", "--field", "kind", "--each"], 2, "data.scenes"),
        (["recipe.yaml", "--field", "kind"], 2, "--field goes with SCENE LABELS"),
        (["recipe.yaml", "--nodata", "0"], 2, "--nodata goes with SCENE LABELS"),
        (["scene.tif", "labels.gpkg", "--field", "kind", "--from", "nosuch"], 66, "nosuch"),
        (["scene.tif", "gone.gpkg", "--field", "kind"], 66, "gone.gpkg"),
    ],
)
def test_mistakes_on_the_command_line(folder, tmp_path, monkeypatch, words, code, said) -> None:
    monkeypatch.chdir(folder)
    done = geoseg("train", *words, "-o", tmp_path / "m.safetensors")
    assert done.code == code
    assert said in done.last
    assert done.err.count("\n") == 1
    assert names_in(tmp_path) == set()


def test_no_output_no_training(folder, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    done = geoseg("train", "scene.tif", "labels.gpkg", "--field", "kind")
    assert (done.code, "-o is missing" in done.last) == (2, True)


def test_the_recipe_says_what_the_flags_said(folder, tmp_path) -> None:
    from geoseg.settings import ReadSettings
    from geoseg.stories.train_labels import Labeled

    write_raster(tmp_path / "cloud.tif", np.zeros((HEIGHT, WIDTH), np.uint8))
    read = ReadSettings(bands="red=1,nir=2", collar="255", nodata="0", mask=f"{tmp_path}/cloud.tif:nonzero:cloud")
    labeled = Labeled((str(folder / "scene.tif"),), folder / "labels.gpkg", "kind", read, start="landcover")
    made = labeled.starter(tmp_path / "m.safetensors")
    (tmp_path / "m.yaml").write_text(made.text(), "utf-8")
    recipe = read_recipe(tmp_path / "m.yaml")
    scene = recipe.data.scenes[0]
    found = scene.settings(recipe.data)
    assert (found.bands, found.collar, found.nodata) == (("red=1", "nir=2"), "255", "0")
    assert found.mask == (f"{tmp_path}/cloud.tif:nonzero:cloud",)
    assert recipe.fit.start == "landcover"
    text = yaml.safe_load((tmp_path / "m.yaml").read_text())["data"]["scenes"][0]
    assert not text["labels"].startswith("/")
    assert text["mask"] == ["cloud.tif:nonzero:cloud"]


def test_classes_take_codes_names_and_colors_where_they_are_known() -> None:
    known = ClassScheme((LandClass(7, "Fen", (1, 2, 3)), LandClass(42, "corn", (9, 9, 200))))
    rows = class_rows([("fen",), ("zzz", "ZZZ"), ("water",), (42,), (5,)], [known])
    assert [row["code"] for row in rows] == [7, 1, 2, 42, 5]
    assert [row["name"] for row in rows] == ["fen", "zzz", "water", "corn", "class 5"]
    assert rows[1]["labels"] == ["zzz", "ZZZ"]
    assert parse_color(rows[0]["color"]) == (1, 2, 3)
    red, green, blue = parse_color(rows[2]["color"])
    assert blue > max(red, green)


def test_colors_of_many_classes_are_told_apart() -> None:
    rows = class_rows([(f"k{n}",) for n in range(20)], [])
    colors = [parse_color(row["color"]) for row in rows]
    assert min(math.dist(a, b) for i, a in enumerate(colors) for b in colors[:i]) > 40
    assert len({row["code"] for row in rows}) == 20


def test_labels_from_a_raster_keep_their_codes(folder, tmp_path, quick) -> None:
    wood = (np.arange(WIDTH) // 16 + (np.arange(HEIGHT) // 16)[:, None]) % 2 == 0
    write_raster(tmp_path / "codes.tif", np.where(wood, 41, 11).astype(np.uint8))
    done = geoseg("train", folder / "scene.tif", tmp_path / "codes.tif", "--check-only", "--json")
    assert done.code == 0, done.err
    rows = json.loads(done.out)["classes"]
    assert [row["name"] for row in rows] == ["class 11", "class 41"]
    assert rows[1]["pixels"] == int(wood.sum())


@pytest.mark.slow
def test_the_committed_labels_train_a_model_in_minutes(sample, tmp_path) -> None:
    labels = sample.with_name("eastern_shore_labels.gpkg")
    done = geoseg("train", sample, labels, "--field", "class", "-o", tmp_path / "shore.safetensors", "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert answer["seconds"] < 300
    held_out = answer["metrics"]["held_out"]
    assert held_out["mean_iou"] > 0.85
    assert not any("not_assessable" in row for row in held_out["classes"].values())
    run = geoseg("run", sample, "-m", tmp_path / "shore.safetensors", "-o", tmp_path / "out")
    assert run.code == 0, run.err
    shares = np.bincount(codes_of(tmp_path / "out" / f"{sample.stem}.classes.tif").ravel(), minlength=7)[1:7]
    assert (shares > 5000).all()
