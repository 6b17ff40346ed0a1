"""Losses: sums of terms, in fp32, in which ignored pixels count for nothing.

    ce        cross-entropy, with label smoothing
    focal(γ)  −(1 − p)^γ · log p (Lin et al. 2017, arXiv 1708.02002)
    gce(q)    (1 − p^q) / q: from cross-entropy (q → 0) to the mean absolute error (q = 1), which noisy labels mislead
              less (Zhang and Sabuncu 2018, arXiv 1805.07836)
    sce(α)    α · cross-entropy + reverse cross-entropy with log 0 := −4 (Wang et al. 2019, arXiv 1908.06112)
    dice, jaccard, lovasz   overlap of whole classes in the batch, the mean over classes; the Lovász-Softmax loss is
              Berman et al. 2018, arXiv 1705.08790

p is the probability of the label. The first four are means over labeled pixels and take class weights.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from segmentation_models_pytorch.losses import DiceLoss, LovaszLoss
from torch import Tensor, nn
from torch.nn import functional

from geoseg.training.chips import IGNORE
from geoseg.training.recipe_fit import FitRecipe, LossTerm, loss_terms

LOG_ZERO = -4.0
"""What the reverse cross-entropy takes for the logarithm of 0."""


class Loss(nn.Module):
    """The loss of a recipe: logits (batch, class, row, col), class index (batch, row, col) → a number.

    Args:
        options: loss and label smoothing.
        weight: (class,) of the terms that are means over pixels.
    """

    weight: Tensor

    def __init__(self, options: FitRecipe, weight: Tensor) -> None:
        super().__init__()
        self.terms, self.smoothing = loss_terms(options.loss), options.label_smoothing
        self.register_buffer("weight", weight, persistent=False)
        self.dice = DiceLoss("multiclass", ignore_index=IGNORE)
        self.lovasz = LovaszLoss("multiclass", ignore_index=IGNORE)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Sum of all terms; 0 for a batch without any label."""
        with torch.autocast(logits.device.type, enabled=False):
            full = logits.float()
            return torch.stack([term.factor * self._term(term, full, labels) for term in self.terms]).sum()

    def _term(self, term: LossTerm, logits: Tensor, labels: Tensor) -> Tensor:
        if term.name == "ce":
            entropy = functional.cross_entropy(
                logits, labels, self.weight, ignore_index=IGNORE, label_smoothing=self.smoothing, reduction="sum"
            )
            return entropy / _count(labels)
        if term.name in {"dice", "lovasz"}:
            loss: Tensor = getattr(self, term.name)(logits, labels).sum()  # lovasz: empty when there is no label
            return loss
        if term.name == "jaccard":
            return _jaccard(logits, labels)
        return self._pixel_mean(_of_label(term), logits, labels)

    def _pixel_mean(self, loss: Callable[[Tensor], Tensor], logits: Tensor, labels: Tensor) -> Tensor:
        """Mean of a function of log p over the labeled pixels, weighted by class."""
        counted = labels != IGNORE
        known = torch.where(counted, labels, 0)
        log_p = logits.log_softmax(dim=1).gather(1, known[:, None])[:, 0]
        return (loss(log_p) * self.weight[known] * counted).sum() / _count(labels)


def class_weights(shares: NDArray[np.float64], power: float) -> Tensor:
    """Weight ∝ share⁻ᵖ, scaled so that the mean weight of a pixel is 1; absent classes weigh nothing.

    Args:
        shares: (class,) share of the labeled training pixels.
        power: 0 counts pixels alike, 1 counts classes alike.
    """
    weights = np.where(shares > 0, np.maximum(shares, 1e-9) ** -power, 0.0)
    return torch.tensor(weights / (weights * shares).sum(), dtype=torch.float32)


def _of_label(term: LossTerm) -> Callable[[Tensor], Tensor]:
    """A pixel's loss as a function of the logarithm of its label's probability."""
    value = term.parameter
    if term.name == "focal":
        # 1 − p of a sure pixel rounds to 0, where a power below 1 has no gradient.
        return lambda log_p: -((-torch.expm1(log_p)).clamp(min=1e-7) ** value) * log_p
    if term.name == "gce":
        return lambda log_p: -torch.expm1(value * log_p) / value
    return lambda log_p: -value * log_p + LOG_ZERO * torch.expm1(log_p)


def _jaccard(logits: Tensor, labels: Tensor) -> Tensor:
    """1 − soft intersection over union, over the batch; classes without a label count 0, as in smp's Dice loss."""
    counted = (labels != IGNORE)[:, None]
    truth = functional.one_hot(torch.where(counted[:, 0], labels, 0), logits.shape[1]).movedim(-1, 1) * counted
    told = logits.softmax(dim=1) * counted
    both, true, all_told = ((part).sum(dim=(0, 2, 3)) for part in (told * truth, truth, told))
    lost = 1 - both / (true + all_told - both).clamp(min=1e-7)
    return (lost * (true > 0)).mean()


def _count(labels: Tensor) -> Tensor:
    # A batch without any label has loss 0, not 0 / 0.
    return (labels != IGNORE).sum().clamp(min=1)
