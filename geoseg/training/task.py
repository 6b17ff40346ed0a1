"""TorchGeo's segmentation task with geoseg's network, loss, learning rate, weight average and checkpoints."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchgeo.trainers import SemanticSegmentationTask

from geoseg.errors import ModelOutputError
from geoseg.model.build import build
from geoseg.model.spec import ModelSpec
from geoseg.training.batches import Batches, steps_per_epoch
from geoseg.training.checkpoint import Best, Checkpoint, State
from geoseg.training.chips import IGNORE, ChipSet
from geoseg.training.forward import forward_of, thread_count
from geoseg.training.freeze import frozen, parameter_groups, set_training
from geoseg.training.losses import Loss, class_weights
from geoseg.training.progress import EpochRow, FitWatcher
from geoseg.training.recipe import Recipe
from geoseg.training.schedules import make_schedule
from geoseg.training.score import confusion_over, figures
from geoseg.training.start import initial_weights


@dataclass(frozen=True)
class FitJob:
    """One fit: what is trained on what, how long, and where it is kept."""

    spec: ModelSpec
    recipe: Recipe
    chips: ChipSet
    aside: ChipSet | None
    """Chips of other places, to measure on; None: nothing is measured."""
    epochs: int
    """After which to end; the learning rate takes its course over the recipe's epochs all the same."""
    checkpoint: Checkpoint
    label: str
    """What people read about it."""
    watcher: FitWatcher

    @property
    def steps(self) -> int:
        """Of all the recipe's epochs."""
        fit = self.recipe.fit
        return steps_per_epoch(len(self.chips), fit.batch * fit.devices) * fit.epochs


class Task(SemanticSegmentationTask):
    """Trains the very network that `geoseg.model.build` makes of a model file, from where a state left it.

    Batches hold `image` (batch, band, row, col), normalized, and `mask` (batch, row, col), class indices.

    Args:
        job: what is trained.
        state: after the last finished epoch; None: begin.
    """

    ignore = ("weights", "job", "state")

    def __init__(self, job: FitJob, state: State | None = None) -> None:
        self.job, self.state, self.options = job, state, job.recipe.fit
        self.threads = thread_count(self.options)
        self.rows = [] if state is None else [EpochRow(**row) for row in state["rows"]]
        self.best: Best | None = None if state is None else state["best"]
        # Kept in a list: as an attribute the average would count among the trained parameters.
        self.averages: list[AveragedModel] = []
        self.losses: list[Tensor] = []
        super().__init__(
            in_channels=len(job.spec.bands),
            num_classes=len(job.spec.classes),
            ignore_index=IGNORE,
            lr=self.options.lr,
        )

    @property
    def kept(self) -> nn.Module:
        """The network that counts: the average, if there is one."""
        network: nn.Module = self.averages[0].module if self.averages else self.model
        return network

    def configure_models(self) -> None:
        """Instead of the few architectures that TorchGeo names: whatever the spec says."""
        self.model = build(self.job.spec)
        start = self.state["network"] if self.state else initial_weights(self.job.recipe, self.model.state_dict())
        self.model.load_state_dict(start)
        # Already here: DistributedDataParallel asks once which parameters have gradients.
        set_training(self.model, freeze=frozen(self.options, len(self.rows)))
        self.model = self.model.to(memory_format=torch.channels_last)

    def configure_losses(self) -> None:
        """The recipe's sum of losses."""
        weight = class_weights(_shares(self.job.chips, len(self.job.spec.classes)), self.options.class_weight_power)
        self.criterion = Loss(self.options, weight)

    def configure_metrics(self) -> None:
        """None: TorchGeo's cost 4 % of a step, and what counts is measured on whole chips of other places."""

    def configure_optimizers(self) -> Any:
        """AdamW under the recipe's schedule."""
        groups = parameter_groups(self.model, self.options)
        optimizer = torch.optim.AdamW(groups, weight_decay=self.options.weight_decay)
        schedule = make_schedule(optimizer, self.options, self.job.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def train_dataloader(self) -> Batches:
        """The next epoch's batches; asked for at the begin of each epoch."""
        job, trainer = self.job, self.trainer
        return Batches(job.chips, job.recipe, job.spec, len(self.rows), trainer.global_rank, trainer.world_size)

    def training_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:  # noqa: ARG002 (Lightning's)
        """The loss of one batch."""
        loss: Tensor = self.criterion(self(batch["image"]), batch["mask"])
        return loss

    def on_train_start(self) -> None:
        """Put everything that changes during a fit where it was."""
        torch.set_num_threads(self.threads)  # also in the processes of several devices
        if self.options.average:
            update = get_ema_multi_avg_fn(self.options.average)  # type: ignore[no-untyped-call]
            self.averages = [AveragedModel(self.model, multi_avg_fn=update, use_buffers=True)]
        if self.trainer.global_rank:
            torch.manual_seed(self.options.seed + self.trainer.global_rank)  # each its own dropout
        if self.state is not None:
            self._restore(self.state)
            self.state = None
        if self.trainer.is_global_zero:
            self.job.watcher.begin(self.job.label, self.job.epochs, len(self.rows))

    def on_train_epoch_start(self) -> None:
        """Start the clock; freeze or release the encoder."""
        set_training(self.model, freeze=frozen(self.options, len(self.rows)))
        self.started = time.monotonic()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002 (Lightning's)
        """Follow loss and weights."""
        self.losses.append(outputs["loss"].detach())
        for average in self.averages:
            average.update_parameters(self.model)

    def on_train_epoch_end(self) -> None:
        """Measure when it is time, keep the state, and stop when it is enough.

        Raises:
            ModelOutputError: the loss is not a number.
        """
        loss, epoch = self._epoch_loss(), len(self.rows) + 1
        last = epoch == self.job.epochs
        mean_iou = self._measured() if last or epoch % self.options.measure_every == 0 else None
        spent, lr = time.monotonic() - self.started, self.trainer.lr_scheduler_configs[0].scheduler.get_last_lr()[0]
        self.rows.append(EpochRow(epoch, round(loss, 6), float(lr), mean_iou, round(spent, 3)))
        if mean_iou is not None and (self.best is None or mean_iou > self.best["mean_iou"]):
            state = {name: tensor.detach().clone() for name, tensor in self.kept.state_dict().items()}
            self.best = {"epoch": epoch, "mean_iou": mean_iou, "state": state if self.options.keep == "best" else {}}
        stop = self.trainer.strategy.broadcast(self._stuck(epoch))
        if self.trainer.is_global_zero:
            self.job.checkpoint.write(self._state(finished=last or stop))
            self.job.watcher.epoch(self.rows[-1])
        self.trainer.should_stop = stop

    def _epoch_loss(self) -> float:
        loss = float(self.trainer.strategy.reduce(torch.stack(self.losses).mean()))
        self.losses.clear()
        if not math.isfinite(loss):
            raise ModelOutputError(
                f"training loss became {loss} in epoch {len(self.rows) + 1}; lower fit.lr of the recipe."
            )
        return loss

    def _measured(self) -> float | None:
        """Mean IoU on the places set aside."""
        aside = self.job.aside
        if aside is None or not self.trainer.is_global_zero:
            return None
        forward = forward_of(self.kept, threads=self.threads)
        found = figures(confusion_over(forward, aside, self.job.spec.bands), self.job.spec.classes)["mean_iou"]
        return None if found is None else float(found)

    def _stuck(self, epoch: int) -> bool:
        patience = self.options.patience
        return patience is not None and self.best is not None and epoch - self.best["epoch"] >= patience

    def _state(self, *, finished: bool) -> State:
        random = [torch.get_rng_state()] + ([torch.cuda.get_rng_state(self.device)] if self.on_gpu else [])
        return {
            "rows": [asdict(row) for row in self.rows],
            "finished": finished,
            "network": self.model.state_dict(),
            "average": self.averages[0].state_dict() if self.averages else None,
            "best": self.best,
            "optimizer": self.trainer.optimizers[0].state_dict(),
            "schedule": self.trainer.lr_scheduler_configs[0].scheduler.state_dict(),
            "scaler": self.trainer.precision_plugin.state_dict(),
            "random": random,
        }

    def _restore(self, state: State) -> None:
        """All but the network, which was loaded before the optimizer took hold of it."""
        if self.averages and state["average"] is not None:
            self.averages[0].load_state_dict(state["average"])
        self.trainer.lr_scheduler_configs[0].scheduler.load_state_dict(state["schedule"])
        self.trainer.optimizers[0].load_state_dict(state["optimizer"])
        if state["scaler"]:
            self.trainer.precision_plugin.load_state_dict(state["scaler"])
        if not self.trainer.global_rank:
            torch.set_rng_state(state["random"][0])
            if self.on_gpu and len(state["random"]) > 1:
                torch.cuda.set_rng_state(state["random"][1], self.device)


def _shares(chips: ChipSet, classes: int) -> NDArray[np.float64]:
    """(class,) share of the labeled pixels; chip by chip, since they may lie in a file."""
    counts = np.sum([np.bincount(label.ravel(), minlength=IGNORE + 1) for label in chips.labels], axis=0)[:classes]
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares
