"""Finished runs → one layer with the polygons of all scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg import __version__
from geoseg.errors import InputError, OutputExistsError, UsageError
from geoseg.io.merged_rows import MERGEABLE, FinishedPolygons, finished_polygons, merged_rows
from geoseg.io.polygon_rows import StoredPolygons
from geoseg.io.publish import Publication
from geoseg.io.record import FileEntry, read_record, recorded, verify_record
from geoseg.io.vector import about_of, check_path, sidecars, vector_suffix, write_polygons
from geoseg.settings import OutputSettings

_SUMMARY = "geoseg:summary"


@dataclass(frozen=True, kw_only=True)
class MergeResult:
    """What `merge` made (or found already made)."""

    paths: tuple[Path, ...]
    """The output, then its sidecars."""
    n_scenes: int
    n_polygons: int
    count: dict[str, int]
    """Rows by class name."""
    area_m2: dict[str, float]
    """Ground square meters by class name; places in several scenes count in each."""
    up_to_date: bool = False


@dataclass(frozen=True)
class _Finished:
    """A run's record, and the polygons that it describes."""

    record: Path
    entry: FileEntry
    polygons: FinishedPolygons
    area_model: Any

    @property
    def name(self) -> str:
        return self.record.name.removesuffix(".json")


def merge(runs: Sequence[str | Path], output: str | Path, out: OutputSettings | None = None) -> MergeResult:
    """Write the polygons of finished runs into one layer, one run after the other, in bounded memory.

    Each row keeps its `scene_id`; with `poly_id` it is the layer's key. Nothing is cut: where scenes overlap, so do
    their polygons (neighbors run with `--mosaic` do not). Writes `output`, its sidecars and, last, the commit record
    `<output name>.json`.

    Args:
        runs: records of `geoseg run` (`NAME.json`), or folders, of which all records count, in the order of names.
            Their polygons must be there as GeoParquet or GeoPackage, in one CRS, with the same classes.
        output: file to write; .gpkg, .shp, .fgb, .geojson or .parquet.
        out: whether to overwrite.

    Raises:
        UsageError: the suffix is unknown.
        InputMissingError: a record does not exist.
        InputError: a folder holds no finished run, files are not what their record says, or scenes do not go together.
        OutputExistsError: the output is there of other runs, is an input, or locked.
        OutputError: writing failed.
    """
    output, out = Path(output), out or OutputSettings()
    paths = (output, *sidecars(output))
    check_path(output)
    records = [record for run in runs for record in _records(Path(run))]
    found = [_finished(record) for record in dict.fromkeys(records)]
    _check_alike(found, output)
    name = f"{output.name}.json"
    names = [path.name for path in paths]
    with Publication(
        output.parent, name, _key(found, output), overwrite=out.overwrite, break_lock=out.break_lock, names=names
    ) as publication:
        if publication.up_to_date:
            return _result(paths, read_record(output.with_name(name))[_SUMMARY], up_to_date=True)
        rows = merged_rows([run.polygons for run in found], found[0].area_model, publication.work / "polygons")
        layer = found[0].polygons.tags.get("GEOSEG_MODEL", output.stem)
        staged = [publication.stage(path.name) for path in paths]
        write_polygons(rows, staged[0], layer=layer, about=_about(found))
        summary = _summary(found, rows)
        publication.commit(lambda _: {_SUMMARY: summary})
    return _result(paths, summary)


def _summary(found: Sequence[_Finished], rows: StoredPolygons) -> dict[str, Any]:
    """Counts and areas as plain JSON."""
    return {
        "n_scenes": len(found),
        "n_polygons": len(rows),
        "count": rows.count_by_class,
        "area_m2": rows.area_m2_by_class,
    }


def _result(paths: tuple[Path, ...], summary: dict[str, Any], *, up_to_date: bool = False) -> MergeResult:
    return MergeResult(paths=paths, **summary, up_to_date=up_to_date)


def _records(run: Path) -> list[Path]:
    """Records of finished runs with polygons that a path stands for.

    Raises:
        InputError: none.
    """
    if not run.is_dir():
        return [run]
    found = []
    for path in sorted(run.glob("*.json")):
        try:
            files = recorded(read_record(path))[1]
        except InputError:  # somebody's own JSON file
            continue
        if any(".polygons." in name for name in files):
            found.append(path)
    if not found:
        raise InputError(f"{run} holds no finished run; give folders or records (NAME.json) of geoseg run.")
    return found


def _finished(record: Path) -> _Finished:
    """A run whose polygons are what its record says.

    Raises:
        InputMissingError, InputError: they are not.
    """
    document = read_record(record)
    _, files = recorded(document)
    name = record.name.removesuffix(".json")
    chosen = next((f"{name}.polygons{kind}" for kind in MERGEABLE if f"{name}.polygons{kind}" in files), None)
    classes = f"{name}.classes.tif"
    if chosen is None or classes not in files:
        raise InputError(f"{record} has no polygons as GeoPackage or GeoParquet; run it again with --format gpkg.")
    problems = verify_record(record, {chosen})
    if problems:
        raise InputError(f"{record.with_name(chosen)} is not what its record says: {problems[0]} Run the scene again.")
    polygons = finished_polygons(record.with_name(chosen), record.with_name(classes))
    return _Finished(record, files[chosen], polygons, document.get(_SUMMARY, {}).get("area_model", "ground"))


def _check_alike(found: Sequence[_Finished], output: Path) -> None:
    """Refuse what would be no layer, or be written over what is read.

    Raises:
        UsageError: there is nothing to merge.
        InputError: two scenes do not go together.
        OutputExistsError: the output is one of the inputs.
    """
    if not found:
        raise UsageError("no finished run given.")
    first, names = found[0], set()
    for run in found:
        if output.exists() and output.samefile(run.polygons.path):
            raise OutputExistsError(f"output {output} is also an input; choose another -o.")
        if run.polygons.crs != first.polygons.crs:
            raise InputError(
                f"polygons of {run.name} are in {run.polygons.crs.name}, of {first.name} in "
                f"{first.polygons.crs.name}; a layer has one CRS: run all with the same --out-crs."
            )
        if run.polygons.scheme != first.polygons.scheme:
            raise InputError(f"{run.name} has other classes than {first.name}: run all with one model or --legend.")
        if (run.polygons.has_objects, run.polygons.geometry_type) != (
            first.polygons.has_objects,
            first.polygons.geometry_type,
        ):
            raise InputError(f"{run.name} has another table than {first.name}: give all --things, --dissolve alike.")
        if run.name in names:
            raise InputError(f"two runs are called {run.name}; nothing would tell their polygons apart: pass --name.")
        names.add(run.name)


def _key(found: Sequence[_Finished], output: Path) -> dict[str, Any]:
    """Everything that the output depends on."""
    return {
        "geoseg": __version__,
        "merge": [[run.name, run.entry.sha256] for run in found],
        "format": vector_suffix(output),
    }


def _about(found: Sequence[_Finished]) -> dict[str, str]:
    """What is true of all scenes."""
    first, *others = (about_of(run.polygons.tags) for run in found)
    return {key: text for key, text in first.items() if all(other.get(key) == text for other in others)}
