from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from chipmaker import recipe, write_recipe

from geoseg.errors import ConfigError, InputMissingError
from geoseg.training.recipe import read_recipe

BUNDLED = Path(__file__).parents[2] / "configs" / "train" / "landcover.yaml"


def _changed(path: str, value: object) -> dict[str, Any]:
    content = recipe()
    *parents, last = path.split(".")
    spot: Any = content
    for key in parents:
        spot = spot[int(key)] if isinstance(spot, list) else spot[key]
    spot[last] = value
    return content


def test_paths_start_at_the_recipes_folder(tmp_path: Path) -> None:
    read = read_recipe(write_recipe(tmp_path, recipe()))
    assert read.data.images == tmp_path / "images"
    assert read.data.index == tmp_path / "chips.csv"
    assert read.scheme().codes == (10, 80)
    assert read.architecture().options["encoder_depth"] == 3


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("fit.epoch", 3, ["fit.epoch", "not permitted", "3"]),
        ("model.color", "red", ["model.color", "not permitted"]),
        ("fit.epochs", 0, ["fit.epochs", "received 0"]),
        ("fit.loss", "mse", ["fit.loss", "mse"]),
        ("augment.zoom", [2.0, 1.0], ["augment", "zoom", "ascending"]),
        ("augment.drop_bands", {"blue": 0.1}, ["augment.drop_bands", "blue"]),
        ("augment.crop", 30, ["network.stride", "30"]),
        ("bands.0.name", "swir16", ["bands", "swir16", "data.bands"]),
        ("classes.1.labels", [10], ["label value 10", "twice"]),
        ("classes.1.code", 10, ["class code 10", "twice"]),
        ("classes.1.color", "blue", ["color 'blue'", "#rrggbb"]),
    ],
)
def test_mistake_is_named_with_file_and_key(tmp_path: Path, path: str, value: object, words: list[str]) -> None:
    file = write_recipe(tmp_path, _changed(path, value))
    with pytest.raises(ConfigError) as caught:
        read_recipe(file)
    message = str(caught.value)
    assert "\n" not in message
    for word in [str(file), *words]:
        assert word in message


def test_missing_key_is_named(tmp_path: Path) -> None:
    content = recipe()
    del content["fit"]["epochs"]
    with pytest.raises(ConfigError, match=r"fit\.epochs: Field required"):
        read_recipe(write_recipe(tmp_path, content))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("fit: {epochs: 1, epochs: 2}", "'epochs' occurs twice"),
        ("fit:\n\tepochs: 1", "cannot start any token"),
        ("fit: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("- a\n- b", "list"),
        ("", "Field required"),
    ],
)
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str, word: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=word) as caught:
        read_recipe(file)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match=r"nowhere\.yaml"):
        read_recipe(tmp_path / "nowhere.yaml")


def test_bundled_recipe_is_valid_and_lets_only_swir_be_missing() -> None:
    read = read_recipe(BUNDLED)
    assert [band.name for band in read.bands if band.optional] == ["swir16", "swir22"]
    assert yaml.safe_load(BUNDLED.read_text())["model"]["name"] == "landcover"


def test_reading_a_recipe_needs_no_torch() -> None:
    code = "import sys, geoseg.training.recipe; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
