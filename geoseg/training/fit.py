"""Fitting a network: Lightning's trainer around TorchGeo's task, going on where an interrupted fit ended."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer

from geoseg.errors import DeviceError
from geoseg.model.build import build
from geoseg.model.spec import ModelSpec
from geoseg.training.checkpoint import Checkpoint, State
from geoseg.training.chips import ChipSet
from geoseg.training.forward import Network, forward_of, thread_count, torch_threads
from geoseg.training.progress import EpochRow, FitWatcher, Unwatched
from geoseg.training.recipe import Recipe
from geoseg.training.recipe_fit import FitRecipe
from geoseg.training.task import FitJob, Task

__all__ = ["Fitted", "Network", "fit", "forward_of"]


@dataclass(frozen=True)
class Fitted:
    """A trained network."""

    network: Network
    """In evaluation mode, on the CPU."""
    epochs: int
    """After which these weights were reached."""
    rows: tuple[EpochRow, ...]


def fit(
    spec: ModelSpec,
    chips: ChipSet,
    recipe: Recipe,
    *,
    aside: ChipSet | None = None,
    epochs: int | None = None,
    checkpoint: Path | None = None,
    label: str = "train",
    watcher: FitWatcher | None = None,
) -> Fitted:
    """Train the spec's network; on the CPU the same seed gives the same weights, however often it was interrupted.

    Args:
        spec: names the network.
        chips: to train on.
        recipe: everything else.
        aside: chips of other places to measure on; early stop and `keep: best` need them.
        epochs: end after so many, with the learning rate as in the whole course; None: the recipe's.
        checkpoint: file that is replaced after each epoch and from which the fit goes on; None: kept nowhere.
        label: what people read about it.
        watcher: told about progress.

    Raises:
        DeviceError: the recipe's device is not there.
        ModelOutputError: the loss became NaN.
        OutputError: the checkpoint cannot be written or read.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        if checkpoint is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="geoseg-"))
            checkpoint = Path(folder) / "fit.state"
        place, told = Checkpoint(checkpoint), watcher or Unwatched()
        job = FitJob(spec, recipe, chips, aside, epochs or recipe.fit.epochs, place, label, told)
        state = place.read()
        if state is None or not state["finished"]:
            _train(job, state)
            state = place.read()
        assert state is not None  # noqa: S101 (the last epoch wrote it)
        return _fitted(job, state)


def _train(job: FitJob, state: State | None) -> None:
    options, done = job.recipe.fit, len(state["rows"]) if state else 0
    arguments = _devices(options)
    with _quiet(), torch_threads(thread_count(options)):
        torch.manual_seed(options.seed)
        task = Task(job, state)
        trainer = Trainer(
            **arguments,
            max_epochs=job.epochs - done,
            reload_dataloaders_every_n_epochs=1,
            precision=options.precision,
            gradient_clip_val=1.0,
            # Not what it finds in the environment: under SLURM it would requeue the job and swallow signals.
            plugins=[LightningEnvironment()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        try:
            trainer.fit(task)
        except SystemExit as ended:
            # Lightning answers an interrupt with exit code 1; who asked wants to hear of the interrupt.
            raise KeyboardInterrupt from ended


def _fitted(job: FitJob, state: State) -> Fitted:
    rows, best, average = tuple(EpochRow(**row) for row in state["rows"]), state["best"], state["average"]
    epochs, weights = len(rows), state["network"]
    if best is not None and job.recipe.fit.keep == "best":
        epochs, weights = best["epoch"], best["state"]
    elif average is not None:
        weights = {name.removeprefix("module."): t for name, t in average.items() if name.startswith("module.")}
    network = build(job.spec)
    network.load_state_dict(weights)
    return Fitted(network.eval(), epochs, rows)


def _devices(options: FitRecipe) -> dict[str, Any]:
    """Lightning's arguments for the devices of a recipe.

    Raises:
        DeviceError: they are not there.
    """
    kind, _, number = options.device.partition(":")
    # Synchronized batch norms exist on GPUs only.
    several = {"strategy": "ddp_spawn", "sync_batchnorm": kind != "cpu"} if options.devices > 1 else {}
    if kind == "cpu":
        return {"accelerator": "cpu", "devices": options.devices, **several}
    first = int(number) if number.isdecimal() else 0
    there = torch.cuda.device_count() if kind == "cuda" and torch.cuda.is_available() else 0
    if first + options.devices > there:
        more = f" with fit.devices {options.devices}" if several else ""
        raise DeviceError(f"fit.device {options.device!r}{more} is not available here; use cpu or cuda:N that exist.")
    return {"accelerator": "gpu", "devices": list(range(first, first + options.devices)), **several}


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning advertises and advises on its own channels; what matters is told by us."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning|torchmetrics|torchgeo")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
