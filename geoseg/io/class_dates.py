"""When the images of class rasters were taken, and what several of them say together in their tags."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geoseg import __version__
from geoseg.errors import InputError
from geoseg.io.class_raster import CLASSES_TAG, ClassRaster, scene_name
from geoseg.moment import Moment

DATETIME_TAG = "GEOSEG_DATETIME"
_VERSION_TAG = "GEOSEG_VERSION"


def taken(raster: ClassRaster) -> Moment | None:
    """When a class raster's image was taken: by its tag, else by the STAC item beside it; None: neither says.

    Raises:
        InputError: one of them says something that is no time.
    """
    tagged = raster.tags.get(DATETIME_TAG)
    item = raster.path.with_name(f"{scene_name(raster.path)}.json")
    try:
        return Moment.parse(tagged) if tagged else _of_item(item)
    except ValueError as error:
        source = raster.path if tagged else item
        raise InputError(f"{source} names no ISO 8601 time ({error}); give --datetimes instead.") from error


def span(moments: Sequence[Moment | None]) -> Moment | None:
    """From the first instant to the last; None where one is unknown."""
    known = [moment for moment in moments if moment is not None]
    if not known or len(known) < len(moments):
        return None
    return Moment(min(moment.first for moment in known), max(moment.last for moment in known))


def joined_tags(rasters: Sequence[ClassRaster], when: Moment | None = None) -> dict[str, str]:
    """The own tags of a raster made from several: what differs stands side by side, `;` between.

    Args:
        rasters: where the tags come from.
        when: the time of all; None: unknown.
    """
    own = {CLASSES_TAG, DATETIME_TAG, _VERSION_TAG}
    names = dict.fromkeys(tag for r in rasters for tag in r.tags if tag.startswith("GEOSEG_") and tag not in own)
    tags = {name: "; ".join(dict.fromkeys(r.tags[name] for r in rasters if name in r.tags)) for name in names}
    return tags | {_VERSION_TAG: __version__} | ({} if when is None else {DATETIME_TAG: when.text})


def _of_item(path: Path) -> Moment | None:
    """The time of a STAC item; None where there is none, or it leaves the time open.

    Raises:
        ValueError: what it says is no time.
    """
    try:
        properties: Any = json.loads(path.read_bytes())["properties"]
        told = [properties.get(name) for name in ("datetime", "start_datetime", "end_datetime")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no such file, or somebody's own JSON
        return None
    if properties.get("geoseg:datetime_known") is False:
        return None
    if told[0] is None and None in told[1:]:
        return None
    return Moment.parse(str(told[0]) if told[0] is not None else f"{told[1]}/{told[2]}")
