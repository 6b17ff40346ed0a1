"""Recipe → model file: the story of a training."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.model.file import as_stored, check_output, find_model, save_model
from geoseg.model.spec import ModelSpec
from geoseg.training.chips import ChipSet, fit_bands, inner_split
from geoseg.training.data import DataWatcher, TrainingData, Unheard, load_data
from geoseg.training.margin import MarginReport, measure_margin, mosaic
from geoseg.training.recipe import Recipe, read_recipe
from geoseg.training.score import Forward, confusion, figures, fit_temperature, network_input, predict

if TYPE_CHECKING:
    from geoseg.training.fit import Network

MOSAIC = 8
"""Training chips along each side of the image on which the margin is measured, at most."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """A trained model."""

    path: Path
    """The model file."""
    spec: ModelSpec
    """What it says about itself; `spec.metrics["held_out"]` are the figures to quote."""
    seconds: float
    """Wall-clock time of the whole training."""


def train(recipe: Path, output: Path, *, overwrite: bool = False, watcher: DataWatcher | None = None) -> TrainResult:
    """Train a model from labeled chips and write its model file.

        chips ─► inner training places ─► fit ─► temperature, figures on the places set aside
              └► all training places ───► fit ─► margin ─► figures on the held-out places ─► model file

    Choices belong on the inner figures; the held-out places are looked at once, at the end.

    Args:
        recipe: YAML file, see `geoseg.training.recipe.Recipe`.
        output: the model file to write, `.safetensors`.
        overwrite: replace an existing file.
        watcher: told what was found.

    Raises:
        InputMissingError: recipe, index or a chip is missing.
        InputError: chips that cannot be used.
        ConfigError: the recipe is invalid or does not fit the data.
        OutputExistsError: the output exists, or its folder does not.
        ModelOutputError: the training diverged.
        OutputError: writing failed.
    """
    start, watcher = time.monotonic(), watcher or Unheard()
    plan = read_recipe(recipe)
    check_output(output, overwrite=overwrite)
    if plan.fit.start is not None:
        start_model = find_model(plan.fit.start)
        watcher.warn(f"fit.start: weights of {start_model.spec.name} are not taken over in this version")
    data = load_data(plan, output.parent, watcher)
    training, held_out = data.chips.split("train"), data.chips.part("val")
    spec = _draft(plan, training, data)
    watcher.note(f"{len(training)} chips to train on, {len(held_out)} held out")

    spec = _calibrate(spec, training, plan, data)
    network = _fit(spec, training, plan)
    # What is measured are the weights as stored, in half precision.
    network.load_state_dict(as_stored(network.state_dict()))
    spec = _measure(spec, network, training, held_out, plan, data)
    save_model(output, network.state_dict(), spec)
    return TrainResult(output, spec, time.monotonic() - start)


def _draft(plan: Recipe, training: ChipSet, data: TrainingData) -> ModelSpec:
    """The spec as far as it is known before training; margin and temperature are measured later."""
    model = plan.model
    return ModelSpec(
        name=model.name,
        version=model.version,
        license=model.license,
        attribution=model.attribution,
        architecture=plan.architecture(),
        bands=fit_bands(training, plan),
        classes=plan.scheme(),
        gsd_m=model.gsd_m,
        chip=plan.network.chip,
        stride=plan.network.stride,
        margin=0,
        default_mmu=model.default_mmu,
        purpose=model.purpose,
        unit=model.unit,
        training_data=data.sources,
    )


def _fit(spec: ModelSpec, chips: ChipSet, plan: Recipe) -> Network:
    from geoseg.training.fit import fit

    return fit(spec, chips, plan)


def _calibrate(spec: ModelSpec, training: ChipSet, plan: Recipe, data: TrainingData) -> ModelSpec:
    """Temperature and inner figures, from a network that has not seen the places it is judged on."""
    from geoseg.training.fit import forward_of

    parts = inner_split(training, plan.fit.inner_share, plan.fit.seed)
    if parts is None:
        why = "no place can be set aside without a class's last labels"
        return replace(spec, metrics={"inner": None, "temperature": f"not fitted: {why}"})
    inner, aside = parts
    _log.info("setting %d of %d chips aside to fit the temperature", len(aside), len(training))
    forward = forward_of(_fit(spec, inner, plan))
    _margin(forward, inner, spec)  # a chip too small for any margin is refused here, not after the second fit
    temperature = fit_temperature(predict(forward, aside, spec.bands), aside.labels, seed=plan.fit.seed)
    metrics = {"inner": _figures(forward, aside, spec, data)}
    return replace(spec, temperature=temperature, metrics=metrics)


def _measure(
    spec: ModelSpec, network: Network, training: ChipSet, held_out: ChipSet, plan: Recipe, data: TrainingData
) -> ModelSpec:
    """Margin on training pixels, figures on the held-out places, and the verdict beside the baseline."""
    from geoseg.training.fit import forward_of

    forward = forward_of(network)
    report = _margin(forward, training, spec)
    metrics: dict[str, Any] = {
        **spec.metrics,
        "margin_disagreement": {str(margin): round(share, 6) for margin, share in report.disagreement.items()},
        "split": data.split,
        "chips": {"train": len(training), "held_out": len(held_out)},
        "held_out": _figures(forward, held_out, spec, data),
    }
    missing = frozenset(band.name for band in spec.bands if band.optional)
    if missing:
        metrics[f"held_out_without_{'_'.join(sorted(missing))}"] = _figures(forward, held_out, spec, data, missing)
    baseline, demonstration = plan.model.baseline, plan.model.demonstration
    if baseline is not None:
        metrics["baseline"] = baseline.model_dump()
        demonstration |= (metrics["held_out"]["mean_iou"] or 0.0) <= baseline.mean_iou
    # What nothing could be measured of is not for reporting either.
    demonstration |= metrics["held_out"]["mean_iou"] is None
    return replace(spec, margin=report.margin, metrics=metrics, demonstration=demonstration)


def _margin(forward: Forward, chips: ChipSet, spec: ModelSpec) -> MarginReport:
    """Measured on real pixels: a mosaic of training chips."""
    side = min(MOSAIC, int(len(chips) ** 0.5))
    image, valid = mosaic(chips.images, side), mosaic(chips.valid[:, None], side)
    pixels = network_input(image, valid, spec.bands)
    return measure_margin(forward, pixels, chip=spec.chip, stride=spec.stride)


def _figures(
    forward: Forward, chips: ChipSet, spec: ModelSpec, data: TrainingData, without: frozenset[str] = frozenset()
) -> dict[str, Any]:
    matrix = np.zeros((len(spec.classes),) * 2, np.int64)
    if len(chips):
        matrix = confusion(predict(forward, chips, spec.bands, without=without), chips.labels, chips.valid)
    return figures(matrix, spec.classes, data.not_assessable)
