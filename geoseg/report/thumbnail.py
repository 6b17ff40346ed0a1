"""Previews, small enough for hundreds on a page."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image

from geoseg.picture import panels_of

WIDTH = 640


def thumbnail(preview: Path) -> bytes:
    """Image and map of a scene's preview as a small WebP file; its title and legend could not be read that small."""
    with Image.open(preview) as page:
        small = page.convert("RGB").crop(panels_of(page))
    small.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
    file = BytesIO()
    small.save(file, "WEBP", quality=72, method=2)
    return file.getvalue()
