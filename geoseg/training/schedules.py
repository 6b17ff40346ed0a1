"""The course of the learning rate over a training: a factor of its peak for each step.

one-cycle: up for the warm-up, then down a cosine to nearly 0; momentum the other way round (Smith and Topin 2018,
arXiv 1708.07120). cosine: linear warm-up, then half a cosine down to 0 (Loshchilov and Hutter 2017, arXiv 1608.03983,
without restarts). poly: linear warm-up, then (1 − t)^0.9 (Chen et al. 2017, arXiv 1706.05587). constant: linear
warm-up, then the peak.
"""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from geoseg.training.recipe_fit import FitRecipe


def make_schedule(optimizer: Optimizer, options: FitRecipe, steps: int) -> LRScheduler:
    """The recipe's schedule, to be advanced after each step.

    Args:
        optimizer: with the peak of each group as its learning rate.
        options: schedule, lr, warm-up.
        steps: of the whole training, however early it is stopped.
    """
    if options.schedule == "one-cycle":
        rise = options.warm_up_share
        if math.isclose(rise * steps, 1):  # torch would divide by the steps between the first and the last of the rise
            rise *= 1.5
        return OneCycleLR(optimizer, [group["lr"] for group in optimizer.param_groups], steps, pct_start=rise)
    return LambdaLR(optimizer, lambda step: rate(options, step, steps))


def rate(options: FitRecipe, step: int, steps: int) -> float:
    """Share of the peak learning rate at a step (counted from 0) of cosine, poly or constant."""
    warm = round(options.warm_up_share * steps)
    if step < warm:
        return (step + 1) / (warm + 1)
    done = min(1.0, (step - warm) / max(1, steps - warm))
    if options.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    return float((1 - done) ** 0.9) if options.schedule == "poly" else 1.0
