"""Class raster → polygons: the whole command, and the stage that `run` shares with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from geoseg import __version__
from geoseg.classes import ClassScheme
from geoseg.errors import UsageError
from geoseg.ground import AreaModelName, area_model
from geoseg.io.class_raster import ClassRaster, open_class_raster, scene_name
from geoseg.io.legend_file import read_legend_file
from geoseg.io.publish import Publication
from geoseg.io.sample import fingerprint
from geoseg.io.shapes import polygonize, score_sums
from geoseg.io.vector import about_of, check_path, sidecars, vector_suffix, write_polygons
from geoseg.moment import Moment
from geoseg.polygons.assemble import assemble
from geoseg.polygons.table import Polygons
from geoseg.settings import OutputSettings, VectorSettings

KEY_VERSION = 1
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
    """Ground square meters by class name."""
    area_model: AreaModelName
    up_to_date: bool = False
    """True when the output of the same input and settings was there already."""


def vectorize(
    raster: Path,
    output: Path,
    settings: VectorSettings | None = None,
    out: OutputSettings | None = None,
) -> VectorizeResult:
    """Turn anyone's class raster into polygons, one for each 4-connected component.

    Writes `output`, its sidecars and, last, the commit record `<output name>.json`.

    Args:
        raster: class raster.
        output: file to write; .gpkg, .shp, .fgb, .geojson or .parquet.
        settings: classes to skip, confidence raster, legend: classes are renamed and merged before polygons are made.
        out: whether to overwrite.

    Raises:
        UsageError: the suffix or a class is unknown.
        ConfigError: the legend cannot be read, or leaves a class of the raster out.
        InputMissingError: a file does not exist.
        InputError: the raster is no class raster, or the confidence raster does not belong to it.
        OutputExistsError: the output is there with other settings, or locked.
        OutputError: writing failed.
    """
    raster, output = Path(raster), Path(output)
    settings, out = settings or VectorSettings(), out or OutputSettings()
    paths = (output, *sidecars(output))
    check_path(output)
    legend = None if settings.legend is None else read_legend_file(settings.legend)
    classes = open_class_raster(raster, legend=legend)
    confidence = find_confidence(raster, settings)
    key = _key(classes, vector_suffix(output), confidence, settings)
    record = f"{output.name}.json"
    with Publication(
        output.parent,
        record,
        key,
        overwrite=out.overwrite,
        break_lock=out.break_lock,
        names=[path.name for path in paths],
    ) as publication:
        if publication.up_to_date:
            return _recorded_result(paths, output.parent / record)
        polygons = polygons_of(classes, confidence, settings)
        staged = [publication.stage(path.name) for path in paths]
        write_polygons(polygons, staged[0], layer=layer_name(classes), about=about_of(classes.tags))
        summary = summarize(polygons)
        publication.commit(lambda _: {_SUMMARY: summary})
    return VectorizeResult(paths=paths, **summary)


def polygons_of(raster: ClassRaster, confidence: Path | None, settings: VectorSettings) -> Polygons:
    """The polygons of a class raster with all attributes, as every format gets them.

    Args:
        raster: class raster.
        confidence: raster of winning scores on the same grid; None: polygons get no score.
        settings: classes to skip.

    Raises:
        UsageError: a class to skip is unknown.
        InputError: a raster cannot be read or the two do not fit.
    """
    outlines = polygonize(raster, skip=skipped_codes(raster.scheme, settings.skip_classes))
    return assemble(
        outlines,
        grid=raster.grid,
        scheme=raster.scheme,
        model=area_model(raster.grid),
        score_sums=None if confidence is None else score_sums(outlines, confidence, raster.grid),
        scene_id=scene_id(raster),
        img_date=_image_date(raster),
    )


def summarize(polygons: Polygons) -> dict[str, Any]:
    """Counts and areas by class as plain JSON; the fields of `VectorizeResult` but the paths."""
    return {
        "n_polygons": len(polygons),
        "count": polygons.count_by_class,
        "area_m2": polygons.area_m2_by_class,
        "area_model": polygons.area_model,
    }


def skipped_codes(scheme: ClassScheme, wanted: tuple[str, ...]) -> frozenset[int]:
    """Codes of the classes that get no polygons, each given by name or by code.

    Raises:
        UsageError: the scheme has no such class.
    """
    known = {str(c.code): c.code for c in scheme.classes} | {c.name: c.code for c in scheme.classes}
    for text in wanted:
        if text not in known:
            classes = ", ".join(f"{c.code} {c.name}" for c in scheme.classes)
            raise UsageError(f"--skip-classes {text!r} is no class of this raster; it has: {classes}.")
    return frozenset(known[text] for text in wanted)


def find_confidence(raster: Path, settings: VectorSettings) -> Path | None:
    """The confidence raster to use: as set, else the sibling `NAME.confidence.tif` of `NAME.classes.tif`."""
    if settings.scores is not None:
        return settings.scores
    sibling = raster.with_name(f"{scene_name(raster)}.confidence.tif")
    return sibling if sibling.is_file() and sibling != raster else None


def scene_id(raster: ClassRaster) -> str:
    """Name of the scene that a class raster was made from: its stem without `.classes`."""
    return scene_name(raster.path)


def layer_name(raster: ClassRaster) -> str:
    """Layer name of the polygons: the model's, else the scene's."""
    return raster.tags.get("GEOSEG_MODEL") or scene_id(raster)


def _image_date(raster: ClassRaster) -> date | None:
    text = raster.tags.get("GEOSEG_DATETIME")
    return Moment.parse(text).day if text else None


def vector_key(settings: VectorSettings, scheme: ClassScheme) -> dict[str, Any]:
    """What polygons depend on besides the rasters.

    Raises:
        UsageError: a class to skip is unknown.
    """
    return {"version": KEY_VERSION, "skip_classes": sorted(skipped_codes(scheme, settings.skip_classes))}


def _key(raster: ClassRaster, suffix: str, confidence: Path | None, settings: VectorSettings) -> dict[str, Any]:
    """Everything that the output depends on."""
    return {
        "geoseg": __version__,
        "input": fingerprint(str(raster.path)),
        "scores": None if confidence is None else fingerprint(str(confidence)),
        "format": suffix,
        "legend": None if settings.legend is None else _translation(raster),
        **vector_key(settings, raster.scheme),
    }


def _translation(raster: ClassRaster) -> dict[str, Any]:
    """What a legend did: two files that say the same are the same."""
    return {
        "classes": raster.scheme.to_json(),
        "codes": {str(value): code for value, code in raster.code_of.items()},
    }


def _recorded_result(paths: tuple[Path, ...], record: Path) -> VectorizeResult:
    summary = json.loads(record.read_text(encoding="utf-8"))[_SUMMARY]
    return VectorizeResult(paths=paths, **summary, up_to_date=True)
