"""Map × reference → how good the map is: the whole command."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg import __version__
from geoseg.errors import GeosegWarning, OutputExistsError, UsageError
from geoseg.io import posix
from geoseg.io.class_raster import scene_name
from geoseg.io.publish import Publication
from geoseg.io.record import read_record
from geoseg.io.reference import holds_points
from geoseg.io.sample import fingerprint
from geoseg.io.zones import zone_files
from geoseg.settings import OutputSettings
from geoseg.stac import settings_json
from geoseg.stories.evaluate_maps import Comparison, compare_maps, is_vector, score_rasters
from geoseg.stories.evaluate_objects import compare_objects, instances_beside, object_lines
from geoseg.stories.evaluate_report import report_of, table_of, training_of
from geoseg.stories.evaluate_settings import EvaluateSettings
from geoseg.stories.watcher import Silent, Watcher

DEFAULT_POINT_FIELD = "ref_class"
_REPORT, _TABLE = "geoseg:accuracy", "geoseg:table"
_NO_FOLDERS = {".html", ".csv", ".xlsx", ".txt", ".pdf"}


@dataclass(frozen=True)
class EvaluateResult:
    """What `evaluate` found."""

    report: dict[str, Any]
    """All figures as plain JSON; a ratio without pixels is None. For maps: `overall_accuracy`, `kappa`, `mean_iou`,
    …, `classes` (name → figures), `confusion`, `boundary`, `calibration`, `warnings`, `notes`."""
    table: str
    """The figures as lines for people."""
    files: tuple[Path, ...] = ()
    """What was written, the JSON first."""
    up_to_date: bool = False
    """True when the files of the same inputs and settings were there already."""


def evaluate(
    prediction: Path | str,
    reference: Path | str,
    output: Path | str | None = None,
    settings: EvaluateSettings | None = None,
    out: OutputSettings | None = None,
    watcher: Watcher | None = None,
) -> EvaluateResult:
    """Compare a map with a reference.

    A reference raster is brought onto the map's grid by nearest neighbor; of reference polygons a pixel takes the one
    that its center lies in, and none where two classes overlap. Reference points (a vector file of points, or .csv)
    are assessed by the design that they were drawn by.

    Args:
        prediction: class raster, anyone's.
        reference: class raster of any grid and CRS, polygons with a class, or points.
        output: a folder, for `NAME.accuracy.json`, `.html`, `.classes.csv` and `.confusion.csv`, with objects
            also `.objects.csv`; or a `.json` file, which is all that is written then; None: nothing is written.
        settings: field, legends, area, distances.
        out: whether to overwrite.
        watcher: told about progress.

    Raises:
        UsageError: the field or the layer is unknown, or a value is out of range.
        ConfigError: classes of map and reference do not match, or a legend cannot be read.
        InputMissingError: a file does not exist.
        InputError: a file cannot be used, or nothing can be compared.
        OutputExistsError: the output is there with other settings, is an input, or is locked.
        OutputError: writing failed.
    """
    prediction, reference = Path(prediction), Path(reference)
    settings, out, watcher = settings or EvaluateSettings(), out or OutputSettings(), watcher or Silent()
    points = is_vector(reference) and holds_points(reference, settings.layer)
    if output is None:
        found = _found(prediction, reference, settings, watcher, points=points)
        return EvaluateResult(found.report, found.table)
    names = _Names.of(Path(output), scene_name(prediction), points=points, objects=settings.objects)
    inputs = _inputs(prediction, reference, settings, points=points)
    _check_apart([names.folder / name for name in (names.record, *names.others)], inputs)
    with Publication(
        names.folder,
        names.record,
        _key(inputs, settings, training_of(prediction)),
        overwrite=out.overwrite,
        break_lock=out.break_lock,
        names=names.others,
    ) as publication:
        files = tuple(names.folder / name for name in (names.record, *names.others))
        if publication.up_to_date:
            record = read_record(files[0])
            return EvaluateResult(record[_REPORT], record[_TABLE], files, up_to_date=True)
        found = _found(prediction, reference, settings, watcher, points=points)
        for name in names.others:
            place = publication.stage(name)
            with posix.disk_errors("report", place):
                place.write_text(found.text_of(name, names.title), encoding="utf-8")
        publication.commit(lambda _: {_REPORT: found.report, _TABLE: found.table})
    return EvaluateResult(found.report, found.table, files)


@dataclass(frozen=True)
class _Found:
    """Figures, and what pages are made of."""

    report: dict[str, Any]
    table: str
    comparison: Comparison | None
    """None: of points."""

    def text_of(self, name: str, title: str) -> str:
        """The content of one of the files."""
        from geoseg.report import accuracy  # brings Jinja and Pillow

        if name.endswith(".classes.csv"):
            return accuracy.classes_csv(self.report)
        if name.endswith(".confusion.csv"):
            return accuracy.confusion_csv(self.report)
        if name.endswith(".objects.csv"):
            return accuracy.objects_csv(self.report)
        if self.comparison is None:
            return accuracy.points_page(self.table, title)
        tally, scheme = self.comparison.tally, self.comparison.matched.scheme
        return accuracy.accuracy_page(self.report, scheme, tally.small_reference, tally.small_predicted, title)


def _found(prediction: Path, reference: Path, settings: EvaluateSettings, watcher: Watcher, *, points: bool) -> _Found:
    if points and settings.objects:
        raise UsageError(f"--objects compares regions; {reference} holds points.")
    if points:
        from geoseg.stories.evaluate_points import evaluate_points

        field = settings.field or DEFAULT_POINT_FIELD
        assessed = evaluate_points(
            prediction,
            reference,
            field=field,
            companion=settings.companion,
            confidence=settings.level,
            unsure=settings.unsure,
            legend=settings.legend,
        )
        return _Found(assessed.as_dict(), assessed.table(), None)
    comparison = compare_maps(prediction, reference, settings, watcher)
    report, table = report_of(comparison, prediction, reference), ""
    if settings.objects:
        report["objects"] = compare_objects(comparison, settings)
        table = "\n".join(object_lines(report["objects"]))
    for text in report["warnings"]:
        warnings.warn(text, GeosegWarning, stacklevel=3)
    return _Found(report, f"{table_of(report)}\n{table}".rstrip(), comparison)


@dataclass(frozen=True)
class _Names:
    """Where the results go."""

    folder: Path
    record: str
    """The JSON."""
    others: tuple[str, ...]
    title: str

    @classmethod
    def of(cls, output: Path, name: str, *, points: bool, objects: bool) -> _Names:
        title = f"Accuracy of {name}"
        suffix = output.suffix.lower()
        if suffix == ".json":
            return cls(output.parent, output.name, (), title)
        if suffix in _NO_FOLDERS:
            raise UsageError(f"-o {output} must be a folder, for JSON, CSV and HTML, or a .json file.")
        tables = [] if points else ["classes.csv", "confusion.csv", *["objects.csv"] * objects]
        others = (f"{name}.accuracy.{what}" for what in ("html", *tables))
        return cls(output, f"{name}.accuracy.json", tuple(others), title)


def _inputs(prediction: Path, reference: Path, settings: EvaluateSettings, *, points: bool) -> list[Path]:
    """Every file that the figures depend on, but legends, which count by what they say."""
    vectors = zone_files(reference) if is_vector(reference) else [reference]
    aoi = [] if settings.aoi is None else zone_files(settings.aoi)
    beside: Sequence[Path | None] = score_rasters(prediction, settings)
    if settings.objects and not points:
        pairs = ((prediction, settings.instances), (reference, settings.reference_instances))
        beside = [*beside, *(instances_beside(path, given) for path, given in pairs)]
    if points:
        from geoseg.stories.evaluate_points import find_companion

        beside = (find_companion(reference, settings.companion),)
    return [prediction, *vectors, *aoi, *(path for path in beside if path is not None)]


def _key(inputs: Sequence[Path], settings: EvaluateSettings, training: dict[str, Any]) -> dict[str, Any]:
    from geoseg.io.legend_file import read_legend_file

    legends = [
        None if text is None else read_legend_file(text).meaning
        for text in (settings.legend, settings.reference_legend)
    ]
    files = {"aoi", "scores", "companion", "legend", "reference_legend", "instances", "reference_instances"}
    files |= set() if settings.objects else {"objects", "things", "iou", "complete"}
    rest = {name: value for name, value in settings_json(settings).items() if name not in files}
    return {
        "geoseg": __version__,
        "inputs": [fingerprint(str(path)) for path in inputs],
        "settings": rest,
        "legends": legends,
        "training": training,
    }


def _check_apart(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    for place in outputs:
        if any(place.exists() and path.exists() and place.samefile(path) for path in inputs):
            raise OutputExistsError(f"output {place} is an input, too; choose another -o.")
