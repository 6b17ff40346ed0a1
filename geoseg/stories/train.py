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
from geoseg.training.chips import ChipSet, fit_bands, inner_split
from geoseg.training.data import TrainingData, load_data
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
    data: TrainingData
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
        InputError: images, labels or chips that cannot be used.
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
    data = load_data(plan, output.parent, watcher)
    training, held_out = data.chips.split("train"), data.chips.part("val")
    draft = begin(_draft(plan, training, data), plan, origin)
    weights = fit_key(plan, data.chips, None if origin is None else origin.sha256)
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
            spec = _train(_Work(plan, data, output, publication, watcher), draft.spec, training, held_out)
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
    whole = work.fit(ALL, spec, training, epochs=None if inner is None else inner.epochs)
    # What is measured are the weights as stored, in half precision.
    whole.network.load_state_dict(as_stored(whole.network.state_dict()))
    work.watcher.note("measuring margin and held-out figures")
    spec, matrix = _measure(work, spec, whole, training, held_out)
    model, log, curves, confused = map(work.publication.stage, _names(work.output))
    save_model(model, whole.network.state_dict(), spec)
    fits = {ALL: whole.rows} if inner is None else {INNER: inner.rows, ALL: whole.rows}
    with disk_errors("training log", log):
        write_log(log, fits)
        _draw_curves(fits, spec.name, curves)
        confusion_chart(matrix, spec.classes, title=f"{spec.name}: held-out pixels").save(confused)
    return spec


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


def _calibrate(work: _Work, spec: ModelSpec, training: ChipSet) -> tuple[ModelSpec, Fitted | None]:
    """Temperature and inner figures, from a network that has not seen the places it is judged on.

    Returns:
        the spec, and that network; None where no place can be spared for it.
    """
    from geoseg.training.fit import forward_of

    options = work.plan.fit
    parts = inner_split(training, options.inner_share, options.seed)
    if parts is None:
        why = "no place can be set aside without a class's last labels"
        work.watcher.note(f"{why}: scores are not calibrated")
        return replace(spec, metrics={"inner": None, "temperature": f"not fitted: {why}"}), None
    inner, aside = parts
    work.watcher.note(f"{len(aside)} of {len(training)} training chips are set aside in the first of two fits")
    fitted = work.fit(INNER, spec, inner, aside=aside)
    forward = forward_of(fitted.network)
    _margin(forward, inner, spec)  # a chip too small for any margin is refused here, not after the second fit
    temperature = fit_temperature(predict(forward, aside, spec.bands), aside.labels, seed=options.seed)
    found = figures(confusion_over(forward, aside, spec.bands), spec.classes, work.data.not_assessable)
    metrics = {"inner": found, "epochs": fitted.epochs}
    return replace(spec, temperature=temperature, metrics=metrics), fitted


def _measure(
    work: _Work, spec: ModelSpec, fitted: Fitted, training: ChipSet, held_out: ChipSet
) -> tuple[ModelSpec, NDArray[np.int64]]:
    """Margin on training pixels, figures on the held-out places, and the verdict beside the baseline.

    Returns:
        the spec, and the held-out pixels by (true class, predicted class).
    """
    from geoseg.training.fit import forward_of

    forward, unassessed = forward_of(fitted.network), work.data.not_assessable
    report = _margin(forward, training, spec)
    matrix = _confusion(forward, held_out, spec)
    metrics: dict[str, Any] = {
        **spec.metrics,
        "margin_disagreement": {str(margin): round(share, 6) for margin, share in report.disagreement.items()},
        "split": work.data.split,
        "chips": {"train": len(training), "held_out": len(held_out)},
        "held_out": figures(matrix, spec.classes, unassessed),
    }
    missing = frozenset(band.name for band in spec.bands if band.optional)
    if missing:
        without = _confusion(forward, held_out, spec, missing)
        metrics[f"held_out_without_{'_'.join(sorted(missing))}"] = figures(without, spec.classes, unassessed)
    baseline, demonstration = work.plan.model.baseline, work.plan.model.demonstration
    if baseline is not None:
        metrics["baseline"] = baseline.model_dump()
        demonstration |= (metrics["held_out"]["mean_iou"] or 0.0) <= baseline.mean_iou
    # What nothing could be measured of is not for reporting either.
    demonstration |= metrics["held_out"]["mean_iou"] is None
    return replace(spec, margin=report.margin, metrics=metrics, demonstration=demonstration), matrix


def _confusion(
    forward: Forward, chips: ChipSet, spec: ModelSpec, without: frozenset[str] = frozenset()
) -> NDArray[np.int64]:
    """Pixels by (true class, predicted class), of which there may be none."""
    if not len(chips):
        return np.zeros((len(spec.classes),) * 2, np.int64)
    return confusion_over(forward, chips, spec.bands, without=without)


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
