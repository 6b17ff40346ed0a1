"""Previews, small enough for hundreds on a page."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image

WIDTH = 640


def thumbnail(preview: Path) -> bytes:
    """A scene's preview as a small WebP file."""
    with Image.open(preview) as page:
        small = page.convert("RGB")
    small.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
    file = BytesIO()
    small.save(file, "WEBP", quality=72, method=4)
    return file.getvalue()
