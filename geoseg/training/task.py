"""TorchGeo's segmentation task with geoseg's network, loss, learning rate and weight average."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from segmentation_models_pytorch.losses import DiceLoss
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchgeo.trainers import SemanticSegmentationTask

from geoseg.errors import ModelOutputError
from geoseg.model.build import build
from geoseg.model.spec import ModelSpec
from geoseg.training.chips import IGNORE
from geoseg.training.recipe_fit import FitRecipe

_log = logging.getLogger(__name__)


class Task(SemanticSegmentationTask):
    """Trains the very network that `geoseg.model.build` makes of a model file.

    Batches hold `image` (batch, band, row, col), normalized, and `mask` (batch, row, col), class indices.
    """

    ignore = ("weights", "spec", "options", "shares", "steps")

    def __init__(self, spec: ModelSpec, options: FitRecipe, shares: NDArray[np.float64], steps: int) -> None:
        """Prepare a training.

        Args:
            spec: names the network.
            options: loss, learning rate, average.
            shares: (class,) share of the labeled training pixels.
            steps: batches in all epochs together.
        """
        self.spec, self.options, self.shares, self.steps = spec, options, shares, steps
        # Kept in a list: as an attribute the average would count among the trained parameters.
        self.averages: list[AveragedModel] = []
        self.losses: list[float] = []
        super().__init__(in_channels=len(spec.bands), num_classes=len(spec.classes), ignore_index=IGNORE, lr=options.lr)

    def configure_models(self) -> None:
        """Instead of the few architectures that TorchGeo names: whatever the spec says."""
        self.model = build(self.spec).to(memory_format=torch.channels_last)

    def configure_losses(self) -> None:
        """Cross-entropy with class weights and label smoothing, plus the Dice loss if asked."""
        self.criterion = _Loss(self.options, _class_weights(self.shares, self.options.class_weight_power))

    def configure_optimizers(self) -> Any:
        """AdamW under one cycle of the learning rate (Smith and Topin 2018, arXiv 1708.07120)."""
        options = self.options
        optimizer = torch.optim.AdamW(self.parameters(), lr=options.lr, weight_decay=options.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=options.lr, total_steps=self.steps, pct_start=0.2
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """Start the clock and the moving average."""
        self.start = time.monotonic()
        if self.options.average:
            update = get_ema_multi_avg_fn(self.options.average)  # type: ignore[no-untyped-call]
            self.averages = [AveragedModel(self.model, multi_avg_fn=update, use_buffers=True)]

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002 (Lightning's)
        """Follow loss and weights."""
        self.losses.append(float(outputs["loss"]))
        for average in self.averages:
            average.update_parameters(self.model)

    def on_train_epoch_end(self) -> None:
        """Log the mean loss, and stop at once when it is not a number."""
        loss, epoch = sum(self.losses) / len(self.losses), self.current_epoch + 1
        self.losses.clear()
        if not math.isfinite(loss):
            raise ModelOutputError(f"training loss became {loss} in epoch {epoch}; lower fit.lr of the recipe.")
        spent = time.monotonic() - self.start
        _log.info("epoch %d of %d: loss %.4f, %.0f s", epoch, self.options.epochs, loss, spent)

    def on_train_end(self) -> None:
        """Keep the average as the network."""
        for average in self.averages:
            self.model.load_state_dict(average.module.state_dict())


class _Loss(nn.Module):
    def __init__(self, options: FitRecipe, weight: Tensor) -> None:
        super().__init__()
        self.entropy = nn.CrossEntropyLoss(
            weight=weight, ignore_index=IGNORE, label_smoothing=options.label_smoothing, reduction="sum"
        )
        self.dice = DiceLoss("multiclass", ignore_index=IGNORE) if options.loss == "ce+dice" else None

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        # A batch without any label has loss 0, not 0 / 0.
        count = (labels != IGNORE).sum().clamp(min=1)
        loss: Tensor = self.entropy(logits.float(), labels) / count
        return loss if self.dice is None else loss + self.dice(logits.float(), labels)


def _class_weights(shares: NDArray[np.float64], power: float) -> Tensor:
    """Weight ∝ share⁻ᵖ, scaled so that the mean weight of a pixel is 1; absent classes weigh nothing."""
    weights = np.where(shares > 0, np.maximum(shares, 1e-9) ** -power, 0.0)
    return torch.tensor(weights / (weights * shares).sum(), dtype=torch.float32)
