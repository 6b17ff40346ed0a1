"""Scene and labels → recipe → model file: training without writing YAML first; and the label check alone."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from geoseg.errors import ConfigError, OutputExistsError
from geoseg.io import posix
from geoseg.model.file import check_output
from geoseg.settings import ReadSettings
from geoseg.stories.train import TrainResult, train
from geoseg.training.data import check_scenes
from geoseg.training.label_check import LabelReport
from geoseg.training.progress import FitWatcher
from geoseg.training.recipe import read_recipe, recipe_of
from geoseg.training.starter import Starter, starter


@dataclass(frozen=True)
class Labeled:
    """A scene, its labels, and what is to be made of them."""

    images: tuple[str, ...]
    labels: Path
    field: str | None
    """Attribute that names the class, for polygons and points."""
    read: ReadSettings
    start: str | None = None
    """Model to start from."""
    merge_names: bool = False
    """True: names that differ only by case or blanks are one class."""

    def starter(self, output: Path) -> Starter:
        """The recipe that is made up for a model file.

        Raises:
            GeosegError: see `geoseg.training.starter.starter`.
        """
        return starter(
            self.images,
            self.labels,
            self.read,
            name=output.stem,
            folder=output.parent,
            field=self.field,
            start=self.start,
        )


def train_labels(
    labeled: Labeled,
    output: Path,
    *,
    overwrite: bool = False,
    restart: bool = False,
    break_lock: bool = False,
    watcher: FitWatcher | None = None,
) -> TrainResult:
    """Train a model from a scene and its labels; the recipe that was made up is kept beside it, as `NAME.yaml`.

    Args:
        labeled: what to train from.
        output: the model file to write, `.safetensors`.
        overwrite: replace existing files.
        restart: discard the epochs of an interrupted training.
        break_lock: take the output's lock from a holder who may be alive.
        watcher: told about progress.

    Raises:
        ConfigError: names that differ only by case or blanks, unless they are to be merged.
        OutputExistsError: another model or recipe exists, or the folder does not.
        GeosegError: see `geoseg.stories.train.train`.
    """
    check_output(output, overwrite=True)
    made, recipe = labeled.starter(output), output.with_suffix(".yaml")
    if made.spelling is not None and not labeled.merge_names:
        raise ConfigError(f"labels {labeled.labels}: {made.spelling}.")
    text = made.text()
    if recipe.exists() and not overwrite and recipe.read_text("utf-8", errors="replace") != text:
        raise OutputExistsError(f"recipe {recipe} exists; pass --overwrite to replace it, or train from it.")
    with _draft(recipe, text) as draft:
        result = train(draft, output, overwrite=overwrite, restart=restart, break_lock=break_lock, watcher=watcher)
        with posix.disk_errors("recipe", recipe):
            draft.replace(recipe)
            posix.sync_folder(recipe.parent)
    return result


def check_labels(source: Path | Labeled) -> LabelReport:
    """What labels are worth and what is wrong with them; nothing is trained.

    Args:
        source: a recipe, or a scene with labels.

    Raises:
        GeosegError: images or labels that cannot be read, or a recipe that is none.
    """
    if isinstance(source, Path):
        return check_scenes(read_recipe(source))
    nowhere = Path.cwd() / "model.yaml"  # never written; paths start in its folder
    made = source.starter(nowhere)
    report = check_scenes(recipe_of(made.content, nowhere))
    if made.spelling is None:
        return report
    if source.merge_names:
        return replace(report, remarks=(f"merged: {made.spelling}", *report.remarks))
    return replace(report, errors=(f"{source.labels.name}: {made.spelling}", *report.errors))


@contextmanager
def _draft(recipe: Path, text: str) -> Iterator[Path]:
    """The recipe under a name for the time being, in its own folder, where its paths start."""
    draft = recipe.with_name(f".{recipe.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        with posix.disk_errors("recipe", recipe, len(text)):
            draft.write_text(text, "utf-8")
            posix.sync_file(draft)
        yield draft
    finally:
        draft.unlink(missing_ok=True)
