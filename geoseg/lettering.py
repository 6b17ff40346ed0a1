"""Letters on pictures: one line of text in a font that has all of its characters, and the inks."""

from __future__ import annotations

import math
from functools import lru_cache

from PIL import ImageDraw, ImageFont

from geoseg.classes import Color

INK: Color = (31, 41, 51)
SOFT_INK: Color = (97, 110, 124)
FRAME: Color = (190, 198, 206)
PAPER: Color = (255, 255, 255)

# (regular, bold) by file name, as Pillow looks them up in the system's font folders; for each text the
# first that has all its glyphs. Pillow's own font knows little beyond ASCII.
FONTS = (
    ("NotoSans-Regular.ttf", "NotoSans-Bold.ttf"),
    ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"),
    ("segoeui.ttf", "segoeuib.ttf"),
    ("HelveticaNeue.ttc", "HelveticaNeue.ttc"),
    ("NotoSansCJK-Regular.ttc", "NotoSansCJK-Bold.ttc"),
    ("YuGothM.ttc", "YuGothB.ttc"),
    ("Arial Unicode.ttf", "Arial Unicode.ttf"),
)
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw_text(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    *,
    bold: bool = False,
    color: Color = INK,
    anchor: str = "la",
    width: int | None = None,
) -> int:
    """Draw a line, cut with … to `width`; returns the pixels that it takes."""
    font = font_for(text, size, bold=bold)
    if width is not None and draw.textlength(text, font) > width:
        while text and draw.textlength(text + "…", font) > width:
            text = text[:-1].rstrip()
        text += "…"
    draw.text(at, text, color, font, anchor)
    return math.ceil(draw.textlength(text, font))


def font_for(text: str, size: int, *, bold: bool = False) -> Font:
    """The first font that can write all of a text; without any, the first there is; at last Pillow's own."""
    fonts: list[Font] = [font for names in FONTS if (font := _load(names[bold], size)) is not None]
    fonts.append(ImageFont.load_default(size))
    return next((font for font in fonts if _covers(font, text)), fonts[0])


@lru_cache(maxsize=64)
def _load(name: str, size: int) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


def _covers(font: Font, text: str) -> bool:
    """True when no character is drawn as the font's "missing" box; U+FFFF is never a character."""
    missing = bytes(font.getmask("\uffff"))
    return all(char.isspace() or bytes(font.getmask(char)) != missing for char in set(text))
