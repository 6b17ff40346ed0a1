"""Every architecture with every loss: two steps, export, reload, the same answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fit_kit import CLASSES, architecture, chip_set, fit_recipe, spec_of

from geoseg.model.build import ALIASES, build
from geoseg.model.file import as_stored, load_tensors, read_spec, save_model
from geoseg.training.fit import fit, forward_of
from geoseg.training.recipe_fit import LOSSES

# Decoders as narrow as they go: what is tested is that the parts fit.
NETWORKS: dict[str, dict[str, Any]] = {
    "fcn": {"num_filters": 4},
    "unet": {"decoder_channels": [16, 8, 8, 8, 8]},
    "unet++": {"decoder_channels": [16, 8, 8, 8, 8]},
    "deeplabv3+": {"decoder_channels": 16},
    "fpn": {"decoder_pyramid_channels": 16, "decoder_segmentation_channels": 32},
    "segformer": {"decoder_segmentation_channels": 16},
    "upernet": {"decoder_channels": 16},
    "dpt": {"decoder_intermediate_channels": [8, 8, 8, 8], "decoder_fusion_channels": 16},
}
SUMS = ("ce+dice", "focal+0.5*lovasz")
# Each architecture once, each loss once; the rest is slow.
QUICK = {*((name, "ce+dice") for name in NETWORKS), *(("unet", loss) for loss in (*LOSSES, *SUMS))}
PAIRS = [
    pytest.param(name, loss, marks=() if (name, loss) in QUICK else pytest.mark.slow)
    for name in NETWORKS
    for loss in (*LOSSES, *SUMS)
]
CHIPS = chip_set(4, size=64)


@pytest.mark.parametrize(("name", "loss"), PAIRS)
@pytest.mark.filterwarnings("ignore:Encoder does not have prefix tokens")
def test_two_steps_then_the_reloaded_file_answers_the_same(name: str, loss: str, tmp_path: Path) -> None:
    network = architecture(name, **NETWORKS[name])
    recipe = fit_recipe(network=network, augment={"crop": 64}, loss=loss, epochs=1, class_weight_power=0.5)
    spec = spec_of(recipe)
    torch.manual_seed(recipe.fit.seed)
    before = build(spec).state_dict()
    fitted = fit(spec, CHIPS, recipe)
    assert fitted.rows[0].loss > 0
    changed = {key for key, tensor in fitted.network.state_dict().items() if not torch.equal(tensor, before[key])}
    assert {"weight", "bias"} <= {key.rpartition(".")[2] for key in changed}

    fitted.network.load_state_dict(as_stored(fitted.network.state_dict()))
    save_model(tmp_path / "m.safetensors", fitted.network.state_dict(), spec)
    again = build(read_spec(tmp_path / "m.safetensors"))
    again.load_state_dict(load_tensors(tmp_path / "m.safetensors"))
    pixels = np.random.default_rng(0).normal(size=(1, 2, 64, 64)).astype(np.float32)
    answer = forward_of(fitted.network)(pixels)
    assert answer.shape == (1, CLASSES, 64, 64)
    assert answer.std() > 0
    np.testing.assert_array_equal(forward_of(again)(pixels), answer)


def test_the_list_is_whole() -> None:
    assert {"fcn", "unet", "fpn", "segformer", "upernet", "dpt", *ALIASES} == set(NETWORKS)


@pytest.mark.parametrize("name", ALIASES)
def test_both_spellings_are_one_network(name: str) -> None:
    specs = [spec_of(fit_recipe(network=architecture(spelled))) for spelled in (name, ALIASES[name])]
    one, two = (build(spec).state_dict() for spec in specs)
    assert {key: tensor.shape for key, tensor in one.items()} == {key: tensor.shape for key, tensor in two.items()}
