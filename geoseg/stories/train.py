"""Recipe → model file: the story of a training."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.charts import confusion_chart, curves_chart
from geoseg.errors import ConfigError, ModelOutputError
from geoseg.io.posix import disk_errors
from geoseg.io.publish import Publication
from geoseg.model.file import as_stored, check_output, read_spec, save_model
from geoseg.model.spec import ModelSpec
from geoseg.training.chips import ChipSet, fit_bands, inner_split, load_chips
from geoseg.training.margin import MarginReport, measure_margin, mosaic
from geoseg.training.progress import EpochRow, FitWatcher, Unwatched, write_log
from geoseg.training.recipe import Recipe, read_recipe
from geoseg.training.score import Forward, confusion_over, figures, fit_temperature, network_input, predict

if TYPE_CHECKING:
    from geoseg.training.fit import Fitted

MOSAIC = 8
"""Training chips along each side of the image on which the margin is measured, at most."""
INNER, ALL = "inner training places", "all training places"


@dataclass(frozen=True)
class TrainResult:
    """A trained model."""

    path: Path
    """The model file."""
    spec: ModelSpec
    """What it says about itself; `spec.metrics["held_out"]` are the figures to quote."""
    seconds: float
    """Wall-clock time of this call."""
    up_to_date: bool = False
    """True when the file already stood, trained by the same recipe on the same data."""


@dataclass(frozen=True)
class _Work:
    """What the stages of one training share."""

    plan: Recipe
    output: Path
    publication: Publication
    watcher: FitWatcher

    def fit(self, label: str, spec: ModelSpec, chips: ChipSet, **more: Any) -> Fitted:
        """Fit, or go on with a fit of this name that was interrupted."""
        from geoseg.training.fit import fit

        checkpoint = self.publication.tiles.folder / f"{label.partition(' ')[0]}.state"
        return fit(spec, chips, self.plan, checkpoint=checkpoint, label=label, watcher=self.watcher, **more)


def train(
    recipe: Path,
    output: Path,
    *,
    overwrite: bool = False,
    restart: bool = False,
    break_lock: bool = False,
    watcher: FitWatcher | None = None,
) -> TrainResult:
    """Train a model from labeled chips and write its model file.

        chips ─► inner training places ─► fit ─► temperature, figures on the places set aside
              └► all training places ───► fit ─► margin ─► figures on the held-out places ─► model file

    Choices belong on the inner figures; the held-out places are looked at once, at the end. Beside `NAME.safetensors`
    stand `NAME.train.csv`, one row an epoch, `NAME.curves.png`, `NAME.confusion.png`, and last the commit record
    `NAME.safetensors.json`. After each epoch the fit is kept in a hidden folder beside them: the same call after an
    interruption goes on there and ends with the same model file.

    Args:
        recipe: YAML file, see `geoseg.training.recipe.Recipe`.
        output: the model file to write, `.safetensors`.
        overwrite: replace existing files.
        restart: discard the epochs of an interrupted training.
        break_lock: take the output's lock from a holder who may be alive.
        watcher: told about progress.

    Raises:
        InputMissingError: recipe, index, a chip or the start is missing.
        InputError: chips that cannot be used.
        ConfigError: the recipe is invalid or does not fit the data.
        OutputExistsError: the output exists, is locked, its folder does not exist, or interrupted work of another
            recipe or other data lies there.
        ModelOutputError: the training diverged.
        OutputError: writing failed.
        PolicyError: the start is a pickle that holds more than tensors.
        TemporaryError: published weights to start from could not be fetched.
    """
    from geoseg.training.checkpoint import fit_key
    from geoseg.training.start import begin, load_start

    start, watcher = time.monotonic(), watcher or Unwatched()
    plan = read_recipe(recipe)
    record = f"{output.name}.json"
    check_output(output, overwrite=True)  # what stands there is judged below: it may be debris of an interrupted run
    origin = load_start(plan)
    chips = load_chips(plan)
    training, held_out = chips.split("train"), chips.split("val")
    draft = begin(_draft(plan, training), plan, origin)
    weights = fit_key(plan, chips, None if origin is None else origin.sha256)
    del origin
    with Publication(
        output.parent,
        record,
        {"weights": weights, "model": plan.model.model_dump(mode="json")},
        overwrite=overwrite,
        break_lock=break_lock,
        restart=restart,
        names=_names(output),
        tiles_key=weights,
    ) as publication:
        if publication.up_to_date:
            return TrainResult(output, read_spec(output), time.monotonic() - start, up_to_date=True)
        watcher.note(f"{len(training)} chips to train on, {len(held_out)} held out")
        for text in draft.notes:
            watcher.note(text)
        for text in draft.warnings:
            watcher.warn(text)
        with _hopeless_goes(publication):
            spec = _train(_Work(plan, output, publication, watcher), draft.spec, training, held_out)
        publication.commit(lambda _files: {"geoseg:metrics": spec.metrics})
    return TrainResult(output, spec, time.monotonic() - start)


def _names(output: Path) -> list[str]:
    return [output.name, *(f"{output.stem}.{rest}" for rest in ("train.csv", "curves.png", "confusion.png"))]


@contextmanager
def _hopeless_goes(publication: Publication) -> Iterator[None]:
    """Epochs are worth nothing to the next run when their recipe must change."""
    try:
        yield
    except (ConfigError, ModelOutputError):
        shutil.rmtree(publication.tiles.folder, ignore_errors=True)
        raise


def _train(work: _Work, spec: ModelSpec, training: ChipSet, held_out: ChipSet) -> ModelSpec:
    """Both fits, everything measured, all files staged."""
    spec, inner = _calibrate(work, spec, training)
    whole = work.fit(ALL, spec, training, epochs=inner.epochs)
    # What is measured are the weights as stored, in half precision.
    whole.network.load_state_dict(as_stored(whole.network.state_dict()))
    work.watcher.note("measuring margin and held-out figures")
    spec, matrix = _measure(work.plan, spec, whole, training, held_out)
    model, log, curves, confused = map(work.publication.stage, _names(work.output))
    save_model(model, whole.network.state_dict(), spec)
    fits = {INNER: inner.rows, ALL: whole.rows}
    with disk_errors("training log", log):
        write_log(log, fits)
        _draw_curves(fits, spec.name, curves)
        confusion_chart(matrix, spec.classes, title=f"{spec.name}: held-out pixels").save(confused)
    return spec


def _draft(plan: Recipe, training: ChipSet) -> ModelSpec:
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
        training_data=tuple(source.model_dump(exclude_none=True) for source in model.training_data),
    )


def _calibrate(work: _Work, spec: ModelSpec, training: ChipSet) -> tuple[ModelSpec, Fitted]:
    """Temperature and inner figures, from a network that has not seen the places it is judged on."""
    from geoseg.training.fit import forward_of

    options = work.plan.fit
    inner, aside = inner_split(training, options.inner_share, options.seed)
    work.watcher.note(f"{len(aside)} of {len(training)} training chips are set aside in the first of two fits")
    fitted = work.fit(INNER, spec, inner, aside=aside)
    forward = forward_of(fitted.network)
    _margin(forward, inner, spec)  # a chip too small for any margin is refused here, not after the second fit
    temperature = fit_temperature(predict(forward, aside, spec.bands), aside.labels, seed=options.seed)
    metrics = {"inner": figures(confusion_over(forward, aside, spec.bands), spec.classes), "epochs": fitted.epochs}
    return replace(spec, temperature=temperature, metrics=metrics), fitted


def _measure(
    plan: Recipe, spec: ModelSpec, fitted: Fitted, training: ChipSet, held_out: ChipSet
) -> tuple[ModelSpec, NDArray[np.int64]]:
    """Margin on training pixels, figures on the held-out places, and the verdict beside the baseline.

    Returns:
        the spec, and the held-out pixels by (true class, predicted class).
    """
    from geoseg.training.fit import forward_of

    forward = forward_of(fitted.network)
    report = _margin(forward, training, spec)
    matrix = confusion_over(forward, held_out, spec.bands)
    metrics: dict[str, Any] = {
        **spec.metrics,
        "margin_disagreement": {str(margin): round(share, 6) for margin, share in report.disagreement.items()},
        "split": "by place: no held-out chip shares ground with a training chip",
        "chips": {"train": len(training), "held_out": len(held_out)},
        "held_out": figures(matrix, spec.classes),
    }
    missing = frozenset(band.name for band in spec.bands if band.optional)
    if missing:
        without = confusion_over(forward, held_out, spec.bands, without=missing)
        metrics[f"held_out_without_{'_'.join(sorted(missing))}"] = figures(without, spec.classes)
    baseline, demonstration = plan.model.baseline, plan.model.demonstration
    if baseline is not None:
        metrics["baseline"] = baseline.model_dump()
        demonstration |= (metrics["held_out"]["mean_iou"] or 0.0) <= baseline.mean_iou
    return replace(spec, margin=report.margin, metrics=metrics, demonstration=demonstration), matrix


def _margin(forward: Forward, chips: ChipSet, spec: ModelSpec) -> MarginReport:
    """Measured on real pixels: a mosaic of training chips."""
    side = min(MOSAIC, int(len(chips) ** 0.5))
    image, valid = mosaic(chips.images, side), mosaic(chips.valid[:, None], side)
    pixels = network_input(image, valid, spec.bands)
    return measure_margin(forward, pixels, chip=spec.chip, stride=spec.stride)


def _draw_curves(fits: dict[str, tuple[EpochRow, ...]], name: str, place: Path) -> None:
    losses = {label: [(row.epoch, row.loss) for row in rows] for label, rows in fits.items()}
    measured = {
        label: [(row.epoch, row.mean_iou) for row in rows if row.mean_iou is not None] for label, rows in fits.items()
    }
    shown = {"loss": losses, "mean IoU of the places set aside": {k: v for k, v in measured.items() if v}}
    curves_chart(shown, title=f"{name}: training", across="epoch").save(place)
