"""Fonts by what they can write."""

from __future__ import annotations

import pytest
from PIL import ImageFont

from geoseg import lettering


def test_missing_glyphs_are_noticed() -> None:
    own = ImageFont.load_default(20)  # Aileron: Latin letters only
    assert lettering._covers(own, "Trees 12.3 %")
    assert not lettering._covers(own, "Лес")


def test_the_first_font_that_can_write_the_text_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    latin, wide = ImageFont.load_default(20), ImageFont.load_default(21)
    monkeypatch.setattr(lettering, "FONTS", (("absent",) * 2, ("latin",) * 2, ("wide",) * 2))
    monkeypatch.setattr(lettering, "_load", lambda name, _size: {"latin": latin, "wide": wide}.get(name))
    monkeypatch.setattr(lettering, "_covers", lambda font, text: font is wide or text.isascii())
    assert lettering.font_for("Trees", 20) is latin
    assert lettering.font_for("Лес", 20) is wide
    monkeypatch.setattr(lettering, "_covers", lambda _font, _text: False)
    assert lettering.font_for("森", 20) is latin
    monkeypatch.setattr(lettering, "FONTS", ())
    assert lettering.font_for("森", 20).getname() == ("Aileron", "Regular")  # type: ignore[union-attr]
