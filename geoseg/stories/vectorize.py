"""Class raster → polygons: the whole command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geoseg import __version__
from geoseg.errors import OutputExistsError, UsageError
from geoseg.ground import AreaModelName
from geoseg.io.class_raster import ClassRaster, open_class_raster, scene_name
from geoseg.io.cog import class_cog_files
from geoseg.io.legend_file import read_legend_file
from geoseg.io.polygon_rows import StoredPolygons, store_polygons
from geoseg.io.publish import Publication
from geoseg.io.sample import fingerprint
from geoseg.io.vector import about_of, check_path, sidecars, vector_suffix, write_polygons
from geoseg.settings import OutputSettings, VectorSettings
from geoseg.stories.regions import ClassChange, find_regions, layer_name, polygons_of, write_regions
from geoseg.stories.vector_key import vector_key

_SUMMARY = "geoseg:summary"


@dataclass(frozen=True)
class VectorizeResult:
    """What `vectorize` made (or found already made)."""

    paths: tuple[Path, ...]
    """The output, then its sidecars."""
    n_polygons: int
    count: dict[str, int]
    """Polygons by class name."""
    area_m2: dict[str, float]
    """Ground square meters by class name, of the geometries as written."""
    area_model: AreaModelName
    changed: tuple[ClassChange, ...] = ()
    """What the minimum mapping unit gave to other classes, largest area first."""
    raster: Path | None = None
    """The generalized class raster, if asked for."""
    up_to_date: bool = False
    """True when the output of the same input and settings was there already."""


def vectorize(
    raster: Path,
    output: Path,
    settings: VectorSettings | None = None,
    out: OutputSettings | None = None,
    raster_out: Path | None = None,
) -> VectorizeResult:
    """Turn anyone's class raster into polygons, one for each 4-connected component.

    Writes `output`, its sidecars and, last, the commit record `<output name>.json`. Polygons come in the order in
    which the sweep from north to south finished them; `poly_id` is their key. A vertex stands at every point where
    three or more regions meet, so neighbors share all their vertices.

    Args:
        raster: class raster.
        output: file to write; .gpkg, .shp, .fgb, .geojson or .parquet.
        settings: classes to skip, confidence raster, minimum mapping unit, simplification; legend: classes are
            renamed and merged before polygons are made.
        out: whether to overwrite.
        raster_out: also write the class raster that the polygons are the outlines of, as a COG, into the output's
            folder; .tif.

    Raises:
        UsageError: the suffix, a size or a class is unknown.
        ConfigError: the legend cannot be read, or leaves a class of the raster out.
        InputMissingError: a file does not exist.
        InputError: the raster is no class raster, or the confidence raster does not belong to it.
        OutputExistsError: the output is there with other settings, is an input, or locked.
        OutputError: writing failed.
    """
    raster, output = Path(raster), Path(output)
    settings, out = settings or VectorSettings(), out or OutputSettings()
    paths = (output, *sidecars(output))
    check_path(output)
    legend = None if settings.legend is None else read_legend_file(settings.legend)
    classes = open_class_raster(raster, legend=legend)
    confidence = find_confidence(raster, settings)
    names = [path.name for path in paths] + _raster_names(raster_out, output, [raster, confidence])
    key = _key(classes, vector_suffix(output), confidence, settings)
    record = f"{output.name}.json"
    with Publication(
        output.parent, record, key, overwrite=out.overwrite, break_lock=out.break_lock, names=names
    ) as publication:
        if publication.up_to_date:
            return _recorded_result(paths, raster_out, output.parent / record)
        regions = find_regions(classes, confidence, settings)
        if raster_out is not None:
            write_regions(regions, publication.stage(Path(raster_out).name))
        polygons = store_polygons(polygons_of(regions, settings, publication.work), publication.work / "polygons")
        staged = [publication.stage(path.name) for path in paths]
        write_polygons(polygons, staged[0], layer=layer_name(classes), about=about_of(classes.tags))
        summary = _summary(polygons)
        changes = [asdict(change) for change in regions.changed]
        publication.commit(lambda _: {_SUMMARY: summary | {"changed": changes}})
    return VectorizeResult(paths=paths, **summary, changed=regions.changed, raster=raster_out)


def _summary(polygons: StoredPolygons) -> dict[str, Any]:
    """Counts and areas by class as plain JSON."""
    return {
        "n_polygons": len(polygons),
        "count": polygons.count_by_class,
        "area_m2": polygons.area_m2_by_class,
        "area_model": polygons.area_model,
    }


def _raster_names(raster_out: Path | None, output: Path, inputs: Sequence[Path | None]) -> list[str]:
    """Names of the generalized raster and its sidecars.

    Raises:
        UsageError: it is no `.tif` beside the output, or both have one style file.
        OutputExistsError: it is an input.
    """
    if raster_out is None:
        return []
    place = Path(raster_out)
    if place.suffix.lower() != ".tif" or place.parent.resolve() != output.parent.resolve():
        raise UsageError(f"--raster-out {place} must be a .tif in the folder of the polygons, {output.parent}.")
    names = [path.name for path in class_cog_files(place)]
    shared = {output.name, *(path.name for path in sidecars(output))} & set(names)
    if shared:
        raise UsageError(f"--raster-out {place} and {output} would both write {min(shared)}: give it another stem.")
    for path in inputs:
        if path is not None and place.exists() and path.exists() and place.samefile(path):
            raise OutputExistsError(f"output {place} is also an input; choose another --raster-out.")
    return names


def find_confidence(raster: Path, settings: VectorSettings) -> Path | None:
    """The confidence raster to use: as set, else the sibling `NAME.confidence.tif` of `NAME.classes.tif`."""
    if settings.scores is not None:
        return settings.scores
    sibling = raster.with_name(f"{scene_name(raster)}.confidence.tif")
    return sibling if sibling.is_file() and sibling != raster else None


def _key(raster: ClassRaster, suffix: str, confidence: Path | None, settings: VectorSettings) -> dict[str, Any]:
    """Everything that the output depends on."""
    return {
        "geoseg": __version__,
        "input": fingerprint(str(raster.path)),
        "scores": None if confidence is None else fingerprint(str(confidence)),
        "format": suffix,
        "legend": None if settings.legend is None else _translation(raster),
        **vector_key(settings, raster.scheme, raster.grid),
    }


def _translation(raster: ClassRaster) -> dict[str, Any]:
    """What a legend did: two files that say the same are the same."""
    return {
        "classes": raster.scheme.to_json(),
        "codes": {str(value): code for value, code in raster.code_of.items()},
    }


def _recorded_result(paths: tuple[Path, ...], raster_out: Path | None, record: Path) -> VectorizeResult:
    summary = json.loads(record.read_text(encoding="utf-8"))[_SUMMARY]
    changed = tuple(ClassChange(**change) for change in summary.pop("changed"))
    return VectorizeResult(paths=paths, **summary, changed=changed, raster=raster_out, up_to_date=True)
