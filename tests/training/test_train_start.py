"""Fine-tuning as a story: what the model file tells of its start, and when a training begins anew."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from chipmaker import write_recipe, write_set
from cli_kit import Done, geoseg
from start_kit import model_spec, save_start, start_content

from geoseg.errors import ConfigError, OutputExistsError
from geoseg.model.file import find_model, load_tensors
from geoseg.model.licenses import commercial_use_of
from geoseg.model.spec import Architecture, Band
from geoseg.stories.train import train
from geoseg.training.recipe import Recipe, read_recipe
from geoseg.training.start import begin, load_start

NETWORK = Architecture(
    name="unet", encoder="tu-regnetx_002", options={"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
)
BANDS = (
    Band(name="red", mean=0.06, std=0.02, quantiles=(0.0, 0.05, 0.2)),
    Band(name="nir", mean=0.2, std=0.1, quantiles=(0.0, 0.2, 0.6)),
)
SOURCE = {"name": "old chips", "license": "CC BY-NC 4.0", "attribution": "them"}
START = replace(
    model_spec(("red", "nir"), {10: "trees", 20: "bare"}, NETWORK),
    name="old",
    version="3",
    license="CC-BY-NC-4.0",
    attribution="the makers of old",
    training_data=(SOURCE,),
    bands=BANDS,
    stride=8,
    chip=128,
    margin=0,
)


def recipe_content(start: str = "start.safetensors", **fit: Any) -> dict[str, Any]:
    """For `write_set`'s chips; blue is new to the start."""
    content = start_content(start, ("blue", "red", "nir"), {10: "trees", 80: "water"}, NETWORK, **fit)
    content["data"] |= {"nodata": -9999}
    content["classes"][1]["labels"] = [20]
    content["network"] |= {"stride": 8}
    return content


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finetune")
    write_set(folder)
    save_start(folder / "start.safetensors", START)
    return folder


def tune(folder: Path, out: Path, content: dict[str, Any]) -> Done:
    return geoseg("train", write_recipe(folder, content), "-o", out)


@pytest.fixture(scope="module")
def tuned(chips: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """Without a network of its own: the start's."""
    out = tmp_path_factory.mktemp("out") / "new.safetensors"
    content = recipe_content()
    del content["network"]
    done = tune(chips, out, content)
    assert done.code == 0, done.err
    return out, done


def test_the_model_file_tells_where_it_comes_from(tuned) -> None:
    spec = find_model(str(tuned[0])).spec
    assert (spec.architecture, spec.stride, spec.chip) == (NETWORK, 8, 128)
    record = spec.training["started_from"]
    assert (record["name"], record["license"]) == ("old 3", "CC-BY-NC-4.0")
    assert len(record["sha256"]) == 64
    assert record["classes_kept"] == ["trees"]
    assert record["bands_adapted"] == ["blue from 0.33·red + 0.33·nir", "red from 0.67·red", "nir from 0.67·nir"]
    # The first convolution; weight and bias of the head.
    assert (record["tensors"]["adapted"], record["tensors"]["fresh"]) == (3, 0)
    assert "started  from old 3, license CC-BY-NC-4.0" in geoseg("models", "show", tuned[0]).out


def test_terms_of_the_start_are_never_lost(tuned) -> None:
    spec = find_model(str(tuned[0])).spec
    assert spec.license == "CC0-1.0 AND CC-BY-NC-4.0"
    assert commercial_use_of(spec).answer == "no"
    assert spec.attribution == "made by a rule; the makers of old"
    assert [source["name"] for source in spec.training_data] == ["rule", "old chips"]


def test_known_bands_keep_their_normalization(tuned) -> None:
    blue, red, nir = find_model(str(tuned[0])).spec.bands
    assert (red.mean, red.std, nir.mean, nir.std) == (0.06, 0.02, 0.2, 0.1)
    assert red.quantiles != BANDS[0].quantiles
    assert blue.std > 0


def test_one_line_says_what_was_reused(tuned) -> None:
    (line,) = [line for line in tuned[1].err.splitlines() if line.startswith("started from")]
    assert line.startswith("started from old 3: ")
    assert "3 adapted to the bands (blue from 0.33·red + 0.33·nir, red from 0.67·red, nir from 0.67·nir)" in line
    assert line.endswith("0 begun anew; rows of 1 classes kept (trees); 2 bands normalized as there")


def test_where_the_start_lies_does_not_matter_what_it_holds_does(tuned, chips, tmp_path) -> None:
    out, _ = tuned
    record = (out.parent / f"{out.name}.json").read_text()
    assert str(chips) not in record
    started = find_model(str(out)).spec.training["started_from"]["sha256"]
    assert json.loads(record)["geoseg:metrics"]
    content = recipe_content()
    del content["network"]
    moved = save_start(tmp_path / "moved.safetensors", START)
    assert "up to date" in tune(chips, out, content | {"fit": content["fit"] | {"start": str(moved)}}).out
    other = save_start(tmp_path / "other.safetensors", START, seed=5)
    done = tune(chips, out, content | {"fit": content["fit"] | {"start": str(other)}})
    assert done.code == 73
    assert f'weights.recipe.fit.start: "{started[:32]}' in done.last


def test_restandardize_takes_the_new_statistics(chips) -> None:
    plan = read_recipe(write_recipe(chips, recipe_content(restandardize=True)))
    fresh = replace(START, bands=tuple(replace(band, mean=9.0) for band in (Band(name="blue", mean=1, std=1), *BANDS)))
    found = begin(fresh, plan, load_start(plan))
    assert found.spec.bands == fresh.bands
    assert found.spec.training["started_from"]["bands_normalized_as_there"] == []


def test_other_units_are_normalized_anew_and_told(chips) -> None:
    plan = read_recipe(write_recipe(chips, recipe_content()))
    fresh = replace(START, unit="dn", bands=(Band(name="blue", mean=1, std=1), *BANDS))
    found = begin(fresh, plan, load_start(plan))
    assert found.spec.bands == fresh.bands
    assert "old 3 is for reflectance, these data are dn" in found.notes[1]


def test_values_unlike_the_starts_are_a_warning(chips, tmp_path) -> None:
    content = recipe_content()
    content["data"]["scale"] = 1.0  # somebody forgot
    done = tune(chips, tmp_path / "new.safetensors", content)
    assert done.code == 0
    assert "band nir: the median is" in done.err
    assert "fit.restandardize" in done.err


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"start": "nowhere.safetensors"}, 66, "nowhere.safetensors"),
        ({"start": "torchgeo:Swin_V2_B_Weights.NAIP_RGB_MI_SATLAS"}, 78, "network is missing: .* which encoder"),
        ({"start": "imagenet"}, 78, "network is missing"),
    ],
)
def test_a_start_that_says_no_network_is_one_line(change, code, says, chips, tmp_path) -> None:
    content = recipe_content(**change)
    del content["network"]
    done = tune(chips, tmp_path / "new.safetensors", content)
    assert done.code == code
    assert done.last.startswith("error: ")
    assert re.search(says, done.last)
    assert list(tmp_path.iterdir()) == []


def test_another_architecture_is_an_error_before_any_chip_is_read(chips, tmp_path) -> None:
    content = recipe_content()
    content["network"]["encoder"] = "resnet18"
    content["data"]["index"] = "nowhere.csv"
    done = tune(chips, tmp_path / "new.safetensors", content)
    assert done.code == 78
    assert "old 3 is unet with encoder tu-regnetx_002" in done.last


def test_the_network_of_a_checkpoint_is_taken_over(tmp_path) -> None:
    given = {"model": "deeplabv3+", "backbone": "resnet18", "in_channels": 3, "num_classes": 2}
    torch.save({"state_dict": {}, "hyper_parameters": given}, tmp_path / "task.ckpt")
    content = recipe_content("task.ckpt")
    del content["network"]
    plan = read_recipe(write_recipe(tmp_path, content))
    assert plan.architecture() == Architecture(name="deeplabv3+", encoder="resnet18")
    assert (plan.network.stride, plan.network.chip) == (32, 512)
    assert plan.fit.start == str(tmp_path / "task.ckpt")


@pytest.mark.parametrize(
    ("start", "encoder"),
    [("torchgeo:ResNet50_Weights.SENTINEL2_ALL_MOCO", "resnet50"), ("timm:regnetx_002.pycls_in1k", "tu-regnetx_002")],
)
def test_around_a_published_encoder_stands_a_unet(start, encoder, tmp_path) -> None:
    content = recipe_content(start)
    del content["network"]
    plan = read_recipe(write_recipe(tmp_path, content))
    assert plan.architecture() == Architecture(name="unet", encoder=encoder)
    assert plan.network.stride == 32


def test_names_and_published_weights_are_no_paths(chips) -> None:
    for start in ("landcover", "imagenet", "torchgeo:A.B", "timm:resnet18.a1"):
        assert read_recipe(write_recipe(chips, recipe_content(start))).fit.start == start


def test_a_finished_model_of_another_start_is_kept(chips, tmp_path) -> None:
    out = tmp_path / "new.safetensors"
    first = train(write_recipe(chips, recipe_content()), out)
    tensors, scratch = load_tensors(first.path), recipe_content()
    del scratch["fit"]["start"]
    with pytest.raises(OutputExistsError, match=r'recipe\.fit\.start: "[0-9a-f]+… → null'):
        train(write_recipe(chips, scratch), out)
    assert all(torch.equal(tensor, load_tensors(out)[name]) for name, tensor in tensors.items())


def test_a_recipe_without_start_needs_a_network(chips) -> None:
    content = recipe_content()
    del content["network"], content["fit"]["start"]
    with pytest.raises(ConfigError, match="network: Field required"):
        read_recipe(write_recipe(chips, content))
    assert isinstance(read_recipe(write_recipe(chips, recipe_content())), Recipe)
