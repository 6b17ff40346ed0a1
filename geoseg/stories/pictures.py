"""The pictures of a run: preview and page share one look at the scene and one at the map."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.io.overview import picture_window, small_classes
from geoseg.io.posix import disk_errors
from geoseg.picture import PNG_LEVEL, render_preview
from geoseg.stories.photographer import PICTURE_PX, Image
from geoseg.stories.prepare import Job
from geoseg.stories.segment import Summary
from geoseg.stories.watcher import Watcher


@dataclass(frozen=True)
class Look:
    """A scene and its map, small, in one frame."""

    image: Image | None
    """(row, col, 3) true color; None without the bands."""
    codes: NDArray[Any]
    """(row, col) class codes."""
    width_m: float
    """Ground metres across."""
    empty: str
    """Why pixels have no class; the class raster has one code for all of that."""


def look_at(job: Job, classes: Path, summary: Summary, picture: Future[Image | None], watcher: Watcher) -> Look:
    """Wait for the scene's picture, and read the map's.

    Args:
        job: for the frame.
        classes: class raster.
        summary: of its pixels.
        picture: of a `Photographer`.
        watcher: told when the scene cannot be decoded for it: the map itself is sound.
    """
    window = picture_window(job.scene)
    shown = job.scene.grid.crop(window)
    try:
        image = picture.result()
    except InputError as error:
        watcher.warn(f"the preview comes without its true-color panel: {error}")
        image = None
    reasons = {"outside the AOI": summary.outside_px, "no data": summary.nodata_px, **summary.masked_px}
    return Look(
        image,
        small_classes(classes, PICTURE_PX, window),
        shown.gsd_m * shown.width,
        " / ".join(reason for reason, pixels in reasons.items() if pixels),
    )


def write_preview(place: Path, look: Look, job: Job, summary: Summary) -> None:
    """Image and class map beside each other, as PNG.

    Raises:
        OutputError: the disk refuses.
    """
    page = render_preview(
        look.image,
        look.codes,
        job.scheme,
        nodata=job.scheme.nodata,
        metres_per_pixel=look.width_m / look.codes.shape[1],
        title=job.name,
        areas_ha={name: area / 1e4 for name, area in summary.area_m2.items()},
        empty=look.empty,
    )
    with disk_errors("preview", place):
        page.save(place, compress_level=PNG_LEVEL)
