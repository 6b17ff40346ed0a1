"""Fitting: what is kept, when it stops, and that an interruption changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fit_kit import architecture, fit_recipe, spec_of
from interrupted_fit_kit import ASIDE, CHIPS, Halt, Stopping, assert_resumes, equal, run

from geoseg.errors import DeviceError, ModelOutputError, OutputError
from geoseg.training import task
from geoseg.training.fit import forward_of
from geoseg.training.score import confusion_over, figures

DROPPING = architecture("deeplabv3plus", encoder_output_stride=16)  # has a dropout layer


@pytest.mark.parametrize(
    "options",
    [
        {"average": 0.9},
        {"keep": "best", "measure_every": 1, "average": 0.5},
        {"schedule": "cosine", "precision": "bf16-mixed", "loss": "focal+dice"},
        {"schedule": "poly", "patience": 3, "keep": "best", "readers": 2},
    ],
    ids=str,
)
def test_a_fit_that_was_interrupted_ends_with_the_same_bits(options, tmp_path) -> None:
    recipe = fit_recipe(network=DROPPING, augment={"mix": 0.5, "rotate": 20}, epochs=5, **options)
    assert_resumes(recipe, tmp_path / "fit.state", (1, 3))


@pytest.mark.parametrize("forgotten", ["set_rng_state", "optimizer", "schedule", "average"])
def test_the_law_of_resuming_fails_when_a_part_is_forgotten(forgotten, monkeypatch, tmp_path) -> None:
    """The mutation: after an interruption one part of the state begins anew."""
    restore = task.Task._restore

    def forgetful(self: task.Task, state: Any) -> None:
        if forgotten == "set_rng_state":
            monkeypatch.setattr(torch, "set_rng_state", lambda _: None)
        fresh = self._state(finished=False)
        restore(self, state | ({} if forgotten == "set_rng_state" else {forgotten: fresh[forgotten]}))

    monkeypatch.setattr(task.Task, "_restore", forgetful)
    recipe = fit_recipe(network=DROPPING, epochs=3, average=0.9)
    with pytest.raises((AssertionError, ValueError)):
        assert_resumes(recipe, tmp_path / "fit.state", (1,))


def test_a_finished_fit_is_read_and_not_repeated(tmp_path) -> None:
    recipe, path = fit_recipe(average=0.5), tmp_path / "fit.state"
    first, watcher = run(recipe, path), Stopping()
    assert equal(run(recipe, path, watcher), first)
    assert watcher.begun == watcher.rows == []


def test_a_damaged_checkpoint_is_told(tmp_path) -> None:
    path = tmp_path / "fit.state"
    run(fit_recipe(epochs=1), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = b""
    path.write_bytes(content)
    with pytest.raises(OutputError, match="--restart"):
        run(fit_recipe(epochs=1), path)


def test_reading_a_checkpoint_executes_nothing(tmp_path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"rows": [], "network": Evil()}, tmp_path / "fit.state")
    with pytest.raises(OutputError, match="damaged"):
        run(fit_recipe(epochs=1), tmp_path / "fit.state")
    assert not (tmp_path / "executed").exists()


def test_the_best_epoch_is_kept_and_the_figures_are_its_own() -> None:
    recipe = fit_recipe(epochs=6, keep="best", measure_every=1, lr=0.02)
    fitted = run(recipe)
    measured = [row.mean_iou for row in fitted.rows]
    assert measured[fitted.epochs - 1] == max(measured)
    matrix = confusion_over(forward_of(fitted.network), ASIDE, spec_of(recipe).bands)
    assert figures(matrix, spec_of(recipe).classes)["mean_iou"] == max(measured)


def test_patience_ends_a_fit_that_gets_no_better(monkeypatch) -> None:
    told = iter([0.1, 0.3, 0.2, 0.3, 0.1, 0.9, 0.9, 0.9])
    monkeypatch.setattr(task.Task, "_measured", lambda _self: next(told))
    fitted = run(fit_recipe(epochs=8, patience=3, measure_every=1, keep="best"))
    assert (len(fitted.rows), fitted.epochs) == (5, 2)  # 0.3 once more is no better


def test_measuring_leaves_the_training_alone() -> None:
    often, never = run(fit_recipe(measure_every=1, average=0.5)), run(fit_recipe(average=0.5), aside=None)
    assert equal(often, never)
    assert [row.mean_iou for row in never.rows] == [None, None]
    assert all(row.mean_iou is not None for row in often.rows)


def test_it_is_measured_when_due_and_at_the_end() -> None:
    fitted = run(fit_recipe(epochs=5, measure_every=2))
    assert [row.epoch for row in fitted.rows if row.mean_iou is not None] == [2, 4, 5]


def test_fewer_epochs_are_the_begin_of_all_of_them(tmp_path) -> None:
    """The learning rate takes the same course, so that a fit can be repeated up to its best epoch."""
    recipe = fit_recipe(epochs=4)
    with pytest.raises(Halt):
        run(recipe, tmp_path / "fit.state", Stopping(2))
    state = torch.load(tmp_path / "fit.state", weights_only=True)["network"]
    short = run(recipe, epochs=2).network.state_dict()
    assert all(torch.equal(short[name], state[name]) for name in state)


def test_the_average_is_what_is_kept() -> None:
    """Decay 0.5 over steps w₁ … w₄ (batch 2 of 6 chips: 3 steps an epoch), the first one taken as it is."""
    seen: list[torch.Tensor] = []
    update = task.Task.on_train_batch_end

    def spy(self: task.Task, *args: Any) -> None:
        seen.append(next(self.model.parameters()).detach().clone())
        update(self, *args)

    recipe = fit_recipe(network=architecture("linear"), epochs=2, average=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task.Task, "on_train_batch_end", spy)
        fitted = run(recipe)
    expected = seen[0]
    for weights in seen[1:]:
        expected = 0.5 * expected + 0.5 * weights
    torch.testing.assert_close(next(fitted.network.parameters()).detach(), expected)


def test_a_diverging_fit_says_so() -> None:
    recipe = fit_recipe(network=architecture("linear"), lr=1e30, epochs=4)
    with pytest.raises(ModelOutputError, match=r"fit\.lr"):
        run(recipe)


@pytest.mark.parametrize("options", [{"device": "cuda:99"}, {"device": "tpu"}, {"device": "cuda", "devices": 99}])
def test_absent_devices_are_an_error(options) -> None:
    with pytest.raises(DeviceError, match=options["device"]):
        run(fit_recipe(**options))


def test_class_shares_are_those_of_all_labels() -> None:
    shares = task._shares(CHIPS, 3)
    known = CHIPS.labels[CHIPS.labels != 255]
    np.testing.assert_allclose(shares, [np.mean(known == number) for number in range(3)])


def test_threads_are_the_recipes_and_the_callers_stay() -> None:
    seen, before = [], torch.get_num_threads()

    class Asking(Stopping):
        def begin(self, label: str, epochs: int, done: int) -> None:
            seen.append(torch.get_num_threads())
            super().begin(label, epochs, done)

    run(fit_recipe(epochs=1, threads=3, network=architecture("linear")), watcher=Asking())
    run(fit_recipe(epochs=1, threads=None, network=architecture("linear")), watcher=Asking())
    assert seen == [3, before]
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_several_devices_share_the_steps_and_go_on(tmp_path) -> None:
    """Two processes of this CPU in place of two GPUs: the same wiring, but for synchronized batch norms."""
    recipe, path = fit_recipe(devices=2, epochs=4, average=0.5, keep="best", measure_every=1), tmp_path / "fit.state"
    short = run(recipe, path, epochs=2)
    assert len(short.rows) == 2
    state = torch.load(path, weights_only=True)
    torch.save(state | {"finished": False}, path)
    fitted = run(recipe, path)
    assert [row.epoch for row in fitted.rows] == [1, 2, 3, 4]
    assert fitted.rows[:2] == short.rows
    assert fitted.rows[-1].loss < fitted.rows[0].loss
    assert fitted.epochs == max(fitted.rows, key=lambda row: row.mean_iou).epoch
