"""Training on two dates of one place, and the recipe of field parcels that is made for it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from builders import write_raster
from chipmaker import write_plain
from labelmaker import scene_recipe, write_scene
from start_kit import save_start
from torchgeo_kit import FIELDS as NETWORK
from torchgeo_kit import small

from geoseg.errors import InputMissingError
from geoseg.model.build import build
from geoseg.model.file import cache_place
from geoseg.model.torchgeo_weights import FIELDS, TORCHGEO
from geoseg.settings import ReadSettings
from geoseg.stories.train_labels import Labeled
from geoseg.training.data import load_data
from geoseg.training.recipe import Recipe, read_recipe
from geoseg.training.recipe_data import SceneData
from geoseg.training.recipe_start import with_network
from geoseg.training.start import load_start
from geoseg.training.start_adapt import adapt

CONFIG = Path(__file__).parents[2] / "configs" / "train" / "field-parcels.yaml"
BANDS = ("red@2", "nir@1")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A scene whose bands hold their own rows and columns, a second date with 1000 more, and labels."""
    write_scene(tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as dataset:
        profile, data, names = dataset.profile, dataset.read(), dataset.descriptions
    with rasterio.open(tmp_path / "b.tif", "w", **profile) as later:
        later.write(data + 1000)
        later.descriptions = names
    codes = np.array([[10, 20, 30], [20, 30, 10], [30, 10, 20], [10, 30, 20]], np.uint8)
    write_raster(tmp_path / "labels.tif", np.tile(codes.repeat(4, 0).repeat(4, 1), (4, 7))[:, :80])
    return tmp_path


def test_chips_hold_each_date(place: Path) -> None:
    scene = {"image": ["a.tif", "b.tif"], "labels": "labels.tif", "dates": True}
    plain = scene_recipe(place, [{"image": "a.tif", "labels": "labels.tif"}])
    content = plain.model_dump()
    content["data"] |= {"scenes": [scene | {"image": [str(place / name) for name in scene["image"]]}]}
    content["data"]["scenes"][0]["labels"] = place / "labels.tif"
    content["bands"] = [{"name": name} for name in BANDS]
    found, alone = load_data(Recipe.model_validate(content)).chips, load_data(plain).chips
    used = alone.valid
    np.testing.assert_array_equal(found.valid, used)
    np.testing.assert_array_equal(found.images[:, 0][used], alone.images[:, 0][used] + 1000)
    np.testing.assert_array_equal(found.images[:, 1][used], alone.images[:, 1][used])


def test_the_recipe_that_is_made_up_says_that_they_are_dates(place: Path) -> None:
    read = ReadSettings(together="dates")
    images = (str(place / "a.tif"), str(place / "b.tif"))
    made = Labeled(images, place / "labels.tif", None, read).starter(place / "m.safetensors")
    (place / "m.yaml").write_text(made.text(), "utf-8")
    recipe = read_recipe(place / "m.yaml")
    assert isinstance(recipe.data, SceneData)
    assert recipe.data.scenes[0].dates
    assert [band.name for band in recipe.bands] == ["red@1", "nir@1", "red@2", "nir@2"]
    assert load_data(recipe).chips.images.shape[1] == 4


def test_field_parcels_are_read_as_fields_of_the_world_stores_them(tmp_path: Path) -> None:
    """Chips of its form: two dates of uint16 in one file, labels 0, 1, 2, and 3 where nobody drew fields."""
    (tmp_path / CONFIG.name).write_text(CONFIG.read_text("utf-8"), "utf-8")
    rng, rows = np.random.default_rng(0), []
    for number in range(4):
        name = f"g{number}.tif"
        image = rng.integers(1, 4000, (8, 256, 256)).astype("uint16")
        labels = rng.integers(0, 4, (1, 256, 256)).astype("uint8")
        write_plain(tmp_path / "fields" / "images" / name, image)
        write_plain(tmp_path / "fields" / "labels" / name, labels)
        rows.append({"file": name, "split": "val" if number == 3 else "train", "place_group": f"g{number}"})
    with (tmp_path / "fields" / "chips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    recipe = read_recipe(tmp_path / CONFIG.name)
    assert tuple(band.name for band in recipe.bands) == tuple(band.name for band in FIELDS.bands)
    chips = load_data(recipe).chips
    np.testing.assert_allclose(chips.images[3], image * np.float32(1e-4), rtol=1e-6)
    known = chips.labels[3] < 3
    np.testing.assert_array_equal(known, labels[0] < 3)
    np.testing.assert_array_equal(chips.labels[3][known], labels[0][known])


def test_a_pulled_network_is_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TorchGeo's whole networks come from the cache, with bands and classes; its hub is not asked."""
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path))
    small(monkeypatch, NETWORK)
    content = yaml.safe_load(CONFIG.read_text("utf-8"))
    content["fit"]["start"] = NETWORK
    del content["network"]
    with pytest.raises(InputMissingError, match="geoseg models pull torchgeo:Unet_Weights"):
        with_network(content, tmp_path)
    spec = TORCHGEO[NETWORK].spec()
    cache_place(NETWORK).parent.mkdir(parents=True)
    save_start(cache_place(NETWORK), spec)
    whole = with_network(content, tmp_path)
    assert whole["network"]["encoder"] == spec.architecture.encoder
    recipe = Recipe.model_validate(whole)
    start = load_start(recipe)
    assert start is not None
    assert (start.bands, start.classes, start.license) == (spec.band_names, spec.classes.names, "CC-BY-4.0")
    assert adapt(start, recipe, build(spec).state_dict()).tensors.keys() == start.tensors.keys()
