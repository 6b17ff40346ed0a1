"""Frozen encoders stay as they are, batch-norm statistics included; encoders with a rate of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from builders import linear_spec
from fit_kit import SMALL, chip_set, fit_recipe, spec_of
from interrupted_fit_kit import Stopping, assert_resumes
from start_kit import model_spec, save_start, seeded_state

from geoseg.errors import ConfigError
from geoseg.model.build import build
from geoseg.model.dynamicworld import DynamicWorld
from geoseg.model.spec import Architecture
from geoseg.training import task
from geoseg.training.fit import fit
from geoseg.training.freeze import parameter_groups, set_training
from geoseg.training.recipe import Recipe

NETWORK = Architecture(name="unet", encoder=SMALL)
START = model_spec(("nir", "red"), {0: "c0", 1: "c1", 2: "c2"}, NETWORK)
NORMS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    return save_start(path, START)


def changed(state: dict[str, torch.Tensor]) -> dict[str, set[str]]:
    """Part of the network → names of its tensors that are no longer the start's."""
    old = seeded_state(START)
    names = [name for name, tensor in state.items() if not torch.equal(tensor, old[name])]
    return {
        part: {name for name in names if name.startswith(part)} for part in ("encoder", "decoder", "segmentation_head")
    }


def run(recipe: Recipe, path: Path | None = None, watcher: Any = None) -> dict[str, torch.Tensor]:
    return fit(
        spec_of(recipe), chip_set(6), recipe, aside=chip_set(2, seed=9), checkpoint=path, watcher=watcher
    ).network.state_dict()


def test_a_frozen_encoder_stays_to_the_bit(start) -> None:
    found = changed(run(fit_recipe(start=str(start), freeze="encoder", average=0.5, measure_every=1)))
    assert found["encoder"] == set()
    assert any(name.endswith(NORMS) for name in found["decoder"])
    assert found["segmentation_head"]


def test_of_dynamic_world_all_but_the_head_is_the_encoder() -> None:
    network = DynamicWorld(3, 2, hidden=4)
    head = set(network.head.modules())
    set_training(network, freeze=True)
    assert {name.partition(".")[0] for name, p in network.named_parameters() if p.requires_grad} == {"head"}
    assert {module for module in network.modules() if module.training} == head | {network}
    set_training(network, freeze=False)
    assert all(module.training for module in network.modules())
    rest, encoder = parameter_groups(network, fit_recipe(start="x", encoder_lr=0.1).fit)
    assert (len(rest["params"]), len(encoder["params"])) == (4, 24 * 4)  # convolution and norm of 24 units


def test_without_freezing_it_moves(start) -> None:
    found = changed(run(fit_recipe(start=str(start), epochs=1)))["encoder"]
    assert any(name.endswith(NORMS) for name in found)
    assert any(name.endswith("weight") for name in found)


def test_the_law_of_freezing_fails_when_batch_norms_go_on(start, monkeypatch) -> None:
    """The mutation: an encoder without gradients, but in training mode."""

    def half(network: torch.nn.Module, *, freeze: bool) -> None:
        network.train()
        network.encoder.requires_grad_(not freeze)

    monkeypatch.setattr(task, "set_training", half)
    found = changed(run(fit_recipe(start=str(start), freeze="encoder", epochs=1)))
    assert found["encoder"]
    assert all(name.endswith(NORMS) for name in found["encoder"])


def test_an_encoder_is_released_after_its_epochs(start, tmp_path) -> None:
    seen: dict[int, dict[str, set[str]]] = {}

    class Looking(Stopping):
        def epoch(self, row: Any) -> None:
            state = torch.load(tmp_path / "fit.state", weights_only=True)["network"]
            seen[row.epoch] = changed(state)

    run(fit_recipe(start=str(start), freeze=2, epochs=3), tmp_path / "fit.state", Looking())
    assert [bool(seen[epoch]["encoder"]) for epoch in (1, 2, 3)] == [False, False, True]
    assert any(name.endswith("weight") for name in seen[3]["encoder"])


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine"])
def test_the_encoder_learns_at_its_own_rate(schedule, start, monkeypatch) -> None:
    rates: list[list[float]] = []
    update = task.Task.on_train_batch_end

    def spy(self: task.Task, *args: Any) -> None:
        rates.append([group["lr"] for group in self.trainer.optimizers[0].param_groups])
        update(self, *args)

    monkeypatch.setattr(task.Task, "on_train_batch_end", spy)
    run(fit_recipe(start=str(start), encoder_lr=0.1, schedule=schedule))
    assert len(rates) == 6
    assert max(rest for rest, _ in rates) > 0.001
    assert [encoder for _, encoder in rates] == pytest.approx([0.1 * rest for rest, _ in rates])


def test_the_groups_hold_every_parameter_once() -> None:
    network = build(START)
    options = fit_recipe(encoder_lr=0.1).fit
    rest, encoder = parameter_groups(network, options)
    assert {id(p) for p in encoder["params"]} == {id(p) for p in network.encoder.parameters()}
    numbers = [id(p) for group in (rest, encoder) for p in group["params"]]
    assert sorted(numbers) == sorted(id(p) for p in network.parameters())
    assert (rest["lr"], encoder["lr"]) == (0.003, pytest.approx(0.0003))


@pytest.mark.parametrize("options", [{"freeze": 2, "encoder_lr": 0.1, "average": 0.9}, {"freeze": "encoder"}], ids=str)
def test_an_interrupted_fine_tuning_ends_with_the_same_bits(options, start, tmp_path) -> None:
    network = {"architecture": "unet", "encoder": SMALL}
    recipe = fit_recipe(network=network, start=str(start), epochs=4, **options)
    assert_resumes(recipe, tmp_path / "fit.state", (1, 3))


@pytest.mark.slow
def test_several_devices_leave_a_frozen_encoder_alone(start) -> None:
    found = changed(run(fit_recipe(start=str(start), freeze="encoder", devices=2)))
    assert found["encoder"] == set()
    assert found["segmentation_head"]


@pytest.mark.parametrize(
    ("fit_options", "says"),
    [
        ({"freeze": "head", "start": "x"}, "'head' is neither encoder, none nor a number"),
        ({"freeze": 0, "start": "x"}, "0 is neither"),
        ({"freeze": True, "start": "x"}, "True is neither"),
        ({"freeze": "encoder"}, "say start"),
        ({"freeze": 3, "start": "x", "devices": 2}, "one device, not 2"),
        ({"encoder_lr": 0}, "greater than 0"),
    ],
)
def test_contradictions_are_refused(fit_options, says) -> None:
    with pytest.raises(ValueError, match=says):
        fit_recipe(**fit_options)


def test_a_network_without_encoder_cannot_freeze_one() -> None:
    network = {"architecture": "linear", "encoder": None}
    with pytest.raises(ValueError, match="'linear' does not have"):
        fit_recipe(network=network, start="x", freeze="encoder")
    with pytest.raises(ValueError, match="'linear' does not have"):
        fit_recipe(network=network, encoder_lr=0.1)
    with pytest.raises(ConfigError, match="unknown"):
        build(linear_spec(2, 2, architecture=Architecture(name="none")))
