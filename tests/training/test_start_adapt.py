"""Weights made to fit other bands and classes; the network answers as it did where nothing changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import linear_spec
from fit_kit import SMALL, chip_set, fit_recipe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from start_kit import model_spec, save_start, seeded_state, start_content, start_recipe

from geoseg.errors import ConfigError
from geoseg.model.build import build
from geoseg.model.spec import Architecture, ModelSpec
from geoseg.training import start_adapt, start_bands
from geoseg.training.fit import fit
from geoseg.training.recipe import Recipe
from geoseg.training.spectra import estimate
from geoseg.training.start import initial_weights, load_start
from geoseg.training.start_adapt import Adapted, adapt

LINEAR = Architecture(name="linear")
UNET = Architecture(name="unet", encoder=SMALL, options={"decoder_channels": [16, 8, 8, 8, 8]})
DEEPLAB = Architecture(name="deeplabv3+", encoder=SMALL)
BANDS = ("blue", "green", "red", "nir")
CLASSES = {10: "trees", 30: "grass", 80: "water"}


def adapted(recipe: Recipe, spec: ModelSpec) -> Adapted:
    start = load_start(recipe)
    assert start is not None
    return adapt(start, recipe, {name: torch.full_like(t, 7) for name, t in build(spec).state_dict().items()})


def test_a_convolution_by_hand(tmp_path) -> None:
    """Two classes of three are kept, in another order; red goes, nir is shared, and pan takes what red was."""
    spec = model_spec(("red", "nir"), CLASSES, LINEAR)
    path = save_start(tmp_path / "m.safetensors", spec)
    old = seeded_state(spec)  # weight (class, band, 1, 1)
    classes = {80: "Water ", 20: "shrubs", 10: "trees"}
    recipe = start_recipe(path, ("nir", "nir08", "pan"), classes, LINEAR)
    found = adapted(recipe, model_spec(("nir", "nir08", "pan"), classes, LINEAR))
    weight, bias = found.tensors["weight"][:, :, 0, 0], found.tensors["bias"]
    for row, kept in ((0, 2), (2, 0)):
        red, nir = old["weight"][kept, :, 0, 0]
        torch.testing.assert_close(weight[row], torch.stack([nir / 2, nir / 2, red]))
        assert bias[row] == old["bias"][kept]
    assert weight[1].tolist() == [7, 7, 7]
    assert bias[1] == 7
    assert (found.classes, found.reused, found.adapted, found.fresh) == (("Water ", "trees"), 0, 2, 0)


@pytest.mark.parametrize(
    ("classes", "kept"),
    [
        ({10: "trees", 30: "meadow", 81: "sea"}, ["trees", "meadow"]),  # one table of codes: 30 was renamed
        ({11: "trees", 30: "meadow"}, ["trees"]),  # another table: its 30 is anything
        ({30: "meadow", 80: "sea"}, []),
        ({1: "TREES", 2: "grass", 3: "  Water"}, ["TREES", "grass", "  Water"]),
        ({10: "grass", 30: "trees"}, ["grass", "trees"]),
    ],
)
def test_classes_are_known_by_name_and_where_tables_agree_by_code(classes, kept, tmp_path) -> None:
    path = save_start(tmp_path / "m.safetensors", model_spec(BANDS, CLASSES, LINEAR))
    found = adapted(start_recipe(path, BANDS, classes, LINEAR), model_spec(BANDS, classes, LINEAR))
    assert list(found.classes) == kept


@pytest.mark.parametrize(
    "network", [UNET, LINEAR, Architecture(name="fcn"), Architecture(name="deeplabv3+", encoder=SMALL)]
)
def test_the_same_bands_and_classes_give_the_same_answer(network, tmp_path) -> None:
    spec = model_spec(BANDS, CLASSES, network)
    path = save_start(tmp_path / "m.safetensors", spec)
    found = adapted(start_recipe(path, BANDS, CLASSES, network), spec)
    old = seeded_state(spec)
    assert all(torch.equal(found.tensors[name], old[name]) for name in old)
    assert (found.reused, found.adapted, found.fresh) == (len(old), 0, 0)


def answer(spec: ModelSpec, tensors: Any, pixels: torch.Tensor) -> torch.Tensor:
    network = build(spec)
    network.load_state_dict(tensors)
    with torch.inference_mode():
        return network.eval()(pixels)


def assert_order_does_not_matter(path: Path, order: list[int]) -> None:
    """The recipe's bands in another order: the same answer for an input in that order."""
    spec, names = model_spec(BANDS, CLASSES), [BANDS[number] for number in order]
    pixels = torch.rand(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    before = answer(spec, seeded_state(spec), pixels)
    other = model_spec(names, CLASSES)
    found = adapted(start_recipe(path, names, CLASSES), other)
    torch.testing.assert_close(answer(other, found.tensors, pixels[:, order]), before, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def fcn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_start(tmp_path_factory.mktemp("fcn") / "m.safetensors", model_spec(BANDS, CLASSES))


@given(st.permutations(range(4)))
@settings(max_examples=24, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_order_of_bands_does_not_matter(fcn, order) -> None:
    assert_order_does_not_matter(fcn, order)


def test_the_law_of_order_fails_when_bands_go_by_place(fcn, monkeypatch) -> None:
    """The mutation: the first band of the recipe takes the weights of the start's first one."""
    places = iter(range(4))
    monkeypatch.setattr(start_bands, "_source", lambda *_: next(places))
    with pytest.raises(AssertionError):
        assert_order_does_not_matter(fcn, [2, 1, 0, 3])


def test_another_band_changes_the_first_layer_alone(tmp_path) -> None:
    spec = model_spec(BANDS, CLASSES, UNET)
    path = save_start(tmp_path / "m.safetensors", spec)
    names = ("red", "rededge071", "blue")
    found, old = adapted(start_recipe(path, names, CLASSES, UNET), model_spec(names, CLASSES, UNET)), seeded_state(spec)
    (changed,) = [name for name in old if not torch.equal(old[name], found.tensors[name])]
    assert changed == "encoder.model.conv_stem.weight"
    assert torch.equal(found.tensors[changed], old[changed][:, [2, 3, 0]])
    assert found.bands == ("rededge071 from nir",)
    assert (found.adapted, found.fresh) == (1, 0)


def assert_estimated(folder: Path) -> Adapted:
    wide, classes = (*BANDS[:3], "rededge071", BANDS[3]), {80: "water", 10: "trees"}
    spec = model_spec(wide, CLASSES, LINEAR)
    path, old = save_start(folder / "m.safetensors", spec), seeded_state(spec)
    guess = estimate(spec.bands[3], [spec.bands[n] for n in (0, 1, 2, 4)])
    assert guess is not None
    found = adapted(start_recipe(path, BANDS, classes, LINEAR), model_spec(BANDS, classes, LINEAR))
    there = torch.rand(4, dtype=torch.float64)
    missing = torch.from_numpy(guess.shares) @ there + guess.constant
    whole = torch.cat([there[:3], missing[None], there[3:]])
    wanted = old["weight"][:, :, 0, 0].double() @ whole + old["bias"].double()
    answer = found.tensors["weight"][:, :, 0, 0].double() @ there + found.tensors["bias"].double()
    torch.testing.assert_close(answer, wanted[[2, 0]], rtol=0, atol=1e-5)
    return found


def test_those_that_are_there_answer_for_a_missing_band(tmp_path) -> None:
    found = assert_estimated(tmp_path)
    assert [text.partition(" (")[0] for text in found.bands] == ["rededge071 estimated"]
    assert (found.reused, found.adapted, found.fresh) == (0, 2, 0)


def test_the_estimate_fails_without_its_constant(tmp_path, monkeypatch) -> None:
    """The mutation: the layer's bias is left as it was."""
    monkeypatch.setattr(start_adapt, "_biases", lambda *_: {})
    with pytest.raises(AssertionError):
        assert_estimated(tmp_path)


@pytest.mark.parametrize("what", ["restandardize", "optional there", "two others"])
def test_nothing_is_estimated_where(what, tmp_path) -> None:
    """… the normalization is not the start's, the start can do without the band, or too few others surely are there."""
    spec = model_spec((*BANDS, "rededge071"), CLASSES, LINEAR)
    if what == "optional there":
        spec = replace(spec, bands=(*spec.bands[:4], replace(spec.bands[4], optional=True)))
    path = save_start(tmp_path / "m.safetensors", spec)
    content = start_content(path, BANDS, CLASSES, LINEAR, restandardize=what == "restandardize")
    if what == "two others":
        content["bands"][0]["optional"] = content["bands"][1]["optional"] = True
    found = adapted(Recipe.model_validate(content), model_spec(BANDS, CLASSES, LINEAR))
    old = seeded_state(spec)
    assert torch.equal(found.tensors["weight"][:, 3], old["weight"][:, 3] + old["weight"][:, 4])
    assert torch.equal(found.tensors["bias"], old["bias"])


@pytest.mark.parametrize("options", [{"lean": True}, {"hidden": 8}, {"hidden": 8, "lean": True}], ids=str)
def test_other_forms_of_dynamic_world_take_its_tensors(options, tmp_path) -> None:
    """A head of its own begins anew, and no class is said to be kept."""
    spec = model_spec(BANDS, CLASSES, Architecture(name="dynamicworld"))
    path, old = save_start(tmp_path / "m.safetensors", spec), seeded_state(spec)
    form = Architecture(name="dynamicworld", options=options)
    found = adapted(start_recipe(path, BANDS, CLASSES, form), model_spec(BANDS, CLASSES, form))
    anew = {name for name in found.tensors if name not in old or not torch.equal(old[name], found.tensors[name])}
    head = {name for name in found.tensors if name.startswith("head.")}
    assert anew == (head if "hidden" in options else set())
    assert found.classes == (() if "hidden" in options else tuple(CLASSES.values()))
    assert found.fresh == len(anew)


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (Architecture(name="fpn", encoder=SMALL), rf"is unet with encoder {SMALL} \(decoder_channels.*network is fpn"),
        (Architecture(name="unet", encoder="resnet18"), "leave out network to take over the start's"),
        (Architecture(name="unet", encoder=SMALL), r"network is unet with encoder tu-mobilenetv3_small_050;"),
    ],
)
def test_another_network_is_refused_saying_what_the_start_is(network, says, tmp_path) -> None:
    path = save_start(tmp_path / "m.safetensors", model_spec(BANDS, CLASSES, UNET))
    with pytest.raises(ConfigError, match=says) as caught:
        load_start(start_recipe(path, BANDS, CLASSES, network))
    assert "\n" not in str(caught.value)


def test_both_spellings_of_an_architecture_are_one(tmp_path) -> None:
    plus = Architecture(name="unet++", encoder=SMALL)
    path = save_start(tmp_path / "m.safetensors", model_spec(BANDS, CLASSES, plus))
    spelled = Architecture(name="unetplusplus", encoder=SMALL)
    assert adapted(start_recipe(path, BANDS, CLASSES, spelled), model_spec(BANDS, CLASSES, plus)).fresh == 0


def test_from_scratch_the_tensors_stay_as_built() -> None:
    recipe = fit_recipe()
    fresh = {"weight": torch.ones(2)}
    assert load_start(recipe) is None
    assert initial_weights(recipe, fresh) is fresh


def test_without_a_learning_rate_a_fit_is_the_start(tmp_path) -> None:
    """Weights below the rounding of float32 change nothing."""
    classes = {0: "c0", 1: "c1", 2: "c2"}
    path = save_start(tmp_path / "m.safetensors", model_spec(("nir", "red"), classes, LINEAR))
    network = {"architecture": "linear", "encoder": None}
    recipe = fit_recipe(network=network, start=str(path), lr=1e-30, epochs=1)
    fitted = fit(linear_spec(2, 3), chip_set(4), recipe)
    old = seeded_state(model_spec(("nir", "red"), classes, LINEAR))
    assert all(torch.equal(tensor, old[name]) for name, tensor in fitted.network.state_dict().items())
