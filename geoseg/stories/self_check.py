"""What a run checks of its own outputs before it publishes them."""

from __future__ import annotations

from geoseg.classes import ClassScheme
from geoseg.errors import ModelOutputError
from geoseg.io.polygon_rows import StoredPolygons
from geoseg.stories.segment import Summary


def check_pixels(
    polygons: StoredPolygons, summary: Summary, scheme: ClassScheme, skipped: frozenset[int], *, exact: bool
) -> None:
    """Compare the pixels of polygons with those of the class raster that they outline.

    Args:
        polygons: of all classes but the skipped.
        summary: of the raster.
        scheme: its classes.
        skipped: codes of classes without polygons.
        exact: nothing was cut off at the boundary of an AOI.

    Raises:
        ModelOutputError: a class has others in its polygons than in the raster.
    """
    for land_class, found in zip(scheme.classes, polygons.totals.n_pixels.tolist(), strict=True):
        expected = 0 if land_class.code in skipped else summary.pixels[land_class.name]
        # Shaped lines may leave nothing inside the AOI of a component that it only just touches.
        if found > expected or (exact and found < expected):
            raise ModelOutputError(
                f"self-check: polygons of {land_class.name!r} cover {found} pixels, the class raster {expected}."
            )
