"""The provenance of a finished scene: one STAC item that tells what was made, from what, with what.

STAC 1.1 (https://github.com/radiantearth/stac-spec/tree/v1.1.0/item-spec) with the extensions
projection, file, classification and processing. Pure: files are read only to digest them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import shapely

from geoseg.classes import ClassScheme
from geoseg.errors import without_secrets
from geoseg.footprint import bounding_box, box_parts, footprint
from geoseg.grid import Grid
from geoseg.model.spec import ModelSpec

STAC_VERSION = "1.1.0"
EXTENSIONS = {
    "proj:": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "file:": "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "classification:": "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "processing:": "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
}
MEDIA_TYPES = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".png": "image/png",
    ".gpkg": "application/geopackage+sqlite3",
    ".fgb": "application/vnd.flatgeobuf",
    ".parquet": "application/vnd.apache.parquet",
    ".geojson": "application/geo+json",
    ".shp": "application/vnd.shp",
    ".dbf": "application/vnd.dbf",
    ".shx": "application/vnd.shx",
    ".xml": "application/xml",
    ".qml": "application/xml",
    ".html": "text/html",
    ".csv": "text/csv",
}


@dataclass(frozen=True, kw_only=True)
class ItemFile:
    """A file of the scene as an asset."""

    key: str
    """Name of the asset in the item (`classes`, `polygons`, …)."""
    href: str
    """Path relative to the item, with forward slashes."""
    roles: tuple[str, ...]
    title: str
    sha256: str
    size: int
    """Bytes."""
    class_raster: bool = False
    """True for rasters of class codes: their asset carries the legend."""

    @classmethod
    def of(
        cls, path: Path, folder: Path, *, key: str, roles: Sequence[str], title: str, class_raster: bool = False
    ) -> ItemFile:
        """Describe a file that lies in the item's folder, or below it, as it is now on disk.

        Raises:
            ValueError: the file is not below the folder.
            OSError: it cannot be read.
        """
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(
            key=key,
            href=f"./{path.relative_to(folder).as_posix()}",
            roles=tuple(roles),
            title=title,
            sha256=digest,
            size=path.stat().st_size,
            class_raster=class_raster,
        )


@dataclass(frozen=True, kw_only=True)
class SceneFacts:
    """Everything that the item tells."""

    scene_id: str
    grid: Grid
    """Grid of the class raster."""
    files: tuple[ItemFile, ...]
    scheme: ClassScheme
    model: ModelSpec | None
    """None: a class raster from elsewhere was vectorized."""
    model_sha256: str | None = None
    processed: datetime
    """End of processing, with time zone."""
    acquired: datetime | tuple[datetime, datetime] | None = None
    """When the image was taken (or first and last moment of a composite), with time zone; None: unknown."""
    settings: Mapping[str, Any]
    """All parameters, as `settings_json` gives them."""
    software: Mapping[str, str]
    """Library → version."""
    radiometry: Mapping[str, Any] | None = None
    """Scale and offset applied to each band, and where they came from."""
    resampling: Mapping[str, Any] | None = None
    """What was resampled, from which to which pixel size; None: nothing was."""
    pixels: Mapping[str, int] = field(default_factory=dict)
    """Class name → pixels."""
    areas_ha: Mapping[str, float] = field(default_factory=dict)
    """Class name → hectares of ground."""
    warnings: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further `geoseg:` properties, named without the prefix (run key, device, …)."""

    def __post_init__(self) -> None:
        if not self.scene_id.strip():
            raise ValueError("a STAC item needs an id; the scene's is empty.")
        times = self.acquired if isinstance(self.acquired, tuple) else (self.acquired or self.processed,)
        for moment in (self.processed, *times):
            if moment.tzinfo is None:
                raise ValueError(f"time {moment} has no time zone; STAC speaks UTC.")
        if isinstance(self.acquired, tuple) and self.acquired[0] > self.acquired[1]:
            raise ValueError(f"acquisition starts {self.acquired[0]}, after its end {self.acquired[1]}.")
        keys = [file.key for file in self.files]
        if len(set(keys)) != len(keys):
            raise ValueError(f"asset keys {keys} are not distinct.")
        unknown = (set(self.pixels) | set(self.areas_ha)) - set(self.scheme.names)
        if unknown:
            raise ValueError(f"areas name the class {min(unknown)!r}, which the scheme does not have.")


def scene_item(facts: SceneFacts) -> dict[str, Any]:
    """The STAC item, ready for `json.dump`.

    The geometry is the raster's footprint (WGS 84 longitude and latitude), cut at the antimeridian; it is
    null where the raster has no place on the globe (corners beyond the projection's range). A time that
    nobody knows is not invented: `datetime` is null, the range is "1970 to the end of processing", and
    `geoseg:datetime_known` says false.
    """
    place = footprint(facts.grid)
    warnings = list(facts.warnings)
    if place is None:
        warnings.append("footprint unknown: the raster's frame has no longitude and latitude everywhere")
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": sorted(EXTENSIONS.values()),
        "id": facts.scene_id,
        "geometry": None if place is None else shapely.geometry.mapping(place),
    }
    if place is not None:
        item["bbox"] = bounding_box(place)
    properties = _times(facts) | _projection(facts.grid) | _provenance(facts)
    properties |= {f"geoseg:{name}": value for name, value in facts.extra.items()}
    properties["geoseg:warnings"] = warnings
    item["properties"] = properties
    item["links"] = []
    item["assets"] = {file.key: _asset(file, facts.scheme) for file in facts.files}
    plain: dict[str, Any] = _plain(item)
    return plain


def place_of_boxes(boxes: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Item fields for boxes ([west, south, east, north], EPSG:4326): `geometry`, null for none, else with `bbox`."""
    spans = box_parts(boxes)
    if not spans:
        return {"geometry": None}
    place: Any = shapely.union_all(spans)
    return {"geometry": shapely.geometry.mapping(place), "bbox": list(map(float, place.bounds))}


def settings_json(settings: Any) -> Any:
    """A (nested) settings dataclass as plain JSON values; paths become text."""
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        return {f.name: settings_json(getattr(settings, f.name)) for f in dataclasses.fields(settings)}
    return _plain(settings)


def _times(facts: SceneFacts) -> dict[str, Any]:
    processed = _utc(facts.processed)
    out: dict[str, Any] = {"created": processed, "geoseg:datetime_known": facts.acquired is not None}
    match facts.acquired:
        case None:
            return out | {
                "datetime": None,
                "start_datetime": "1970-01-01T00:00:00Z",
                "end_datetime": processed,
            }
        case (first, last):
            return out | {"datetime": None, "start_datetime": _utc(first), "end_datetime": _utc(last)}
        case moment:
            return out | {"datetime": _utc(moment)}


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _projection(grid: Grid) -> dict[str, Any]:
    authority = grid.crs.to_authority(min_confidence=100)
    out: dict[str, Any] = {
        "proj:code": None if authority is None else ":".join(authority),
        "proj:shape": list(grid.shape),
        "proj:transform": list(grid.transform)[:6],
        "proj:bbox": list(grid.bounds),
    }
    if authority is None:
        out["proj:wkt2"] = grid.crs.to_wkt()
    return out | {"gsd": round(grid.gsd_m, 6)}


def _provenance(facts: SceneFacts) -> dict[str, Any]:
    areas = [
        {"code": c.code, "name": c.name}
        | ({"pixels": facts.pixels[c.name]} if c.name in facts.pixels else {})
        | ({"hectares": facts.areas_ha[c.name]} if c.name in facts.areas_ha else {})
        for c in facts.scheme.classes
    ]
    model = facts.model and {
        "name": facts.model.name,
        "version": facts.model.version,
        "sha256": facts.model_sha256,
        "license": facts.model.license,
        "attribution": facts.model.attribution,
        "demonstration": facts.model.demonstration,
        "training_footprints": facts.model.training_footprints,
    }
    return {
        "processing:software": dict(facts.software),
        "processing:datetime": _utc(facts.processed),
        "geoseg:model": model,
        "geoseg:settings": facts.settings,
        "geoseg:radiometry": facts.radiometry,
        "geoseg:resampling": facts.resampling,
        "geoseg:areas": areas,
    }


def _asset(file: ItemFile, scheme: ClassScheme) -> dict[str, Any]:
    asset: dict[str, Any] = {
        "href": file.href,
        "title": file.title,
        "roles": list(file.roles),
        "file:size": file.size,
        # multihash: 0x12 = SHA-256, 0x20 = 32 bytes follow
        "file:checksum": f"1220{file.sha256}",
    }
    media_type = MEDIA_TYPES.get(Path(file.href).suffix.lower())
    if media_type:
        asset["type"] = media_type
    if file.class_raster:
        asset |= {"data_type": scheme.dtype.name, "nodata": scheme.nodata}
        asset["classification:classes"] = [class_row(c.code, c.name, c.hex_color) for c in scheme.classes]
        asset["classification:classes"].append(
            {"value": scheme.nodata, "name": "nodata", "description": "no data", "nodata": True}
        )
    return asset


def class_row(code: int, name: str, hex_color: str) -> dict[str, Any]:
    """A legend row; the extension's `name` is a machine's word (A-Z a-z 0-9 _ -), ours goes into `title`."""
    word = "".join(char if char.isascii() and (char.isalnum() or char in "_-") else "_" for char in name)
    return {
        "value": code,
        "name": word if any(map(str.isalnum, word)) else f"class_{code}",
        "title": name,
        "description": name,
        "color_hint": hex_color.removeprefix("#").upper(),
    }


def _plain(value: Any) -> Any:
    """JSON values only: paths and times as text, tuples as lists, NumPy scalars as Python's, NaN as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, datetime):
        return _utc(value)
    if hasattr(value, "item"):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float)) else without_secrets(str(value))
