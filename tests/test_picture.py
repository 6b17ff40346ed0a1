"""The preview, examined pixel by pixel where it matters."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from geoseg.classes import ClassScheme, LandClass
from geoseg.picture import (
    HATCH,
    HATCH_GROUND,
    MAX_LEGEND_ENTRIES,
    NO_IMAGE,
    _Layout,
    _legend,
    panels_of,
    render_preview,
    scale_length,
    stretch,
)

SCHEME = ClassScheme(
    (LandClass(1, "water", (65, 155, 223)), LandClass(2, "trees", (57, 125, 73)), LandClass(7, "сад", (200, 40, 27)))
)


def colors(picture: Image.Image, box: tuple[int, int, int, int]) -> set[tuple[int, ...]]:
    return {color for _, color in picture.crop(box).getcolors(1 << 24) or []}  # type: ignore[misc]


def class_panel(layout: _Layout) -> tuple[int, int, int, int]:
    x, y = layout.origins[-1]
    return x, y, x + layout.panel[0], y + layout.panel[1]


def checkerboard() -> NDArray[np.uint8]:
    codes = np.full((60, 40), 1, np.uint8)
    codes[::2, ::2] = 2
    codes[30:, 20:] = 7
    codes[:10] = 255
    return codes


def test_a_sample_stretches_a_large_image_as_all_of_it_would(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = np.random.default_rng(3).random((3, 20, 30)).astype(np.float32)
    image = np.kron(blocks, np.ones((1, 4, 4), np.float32))
    valid = np.ones(image.shape[1:], bool)
    valid[:8, :12] = False
    expected = stretch(image, valid)
    monkeypatch.setattr("geoseg.picture.SAMPLE_PX", valid.size // 16)
    np.testing.assert_allclose(stretch(image, valid).astype(int), expected, atol=1)  # percentiles interpolate


def test_where_the_sample_holds_nothing_valid_all_pixels_count(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(3).random((3, 40, 40)).astype(np.float32)
    valid = np.zeros((40, 40), bool)
    valid[1::4, 1::4] = True
    expected = stretch(image, valid)
    monkeypatch.setattr("geoseg.picture.SAMPLE_PX", 100)
    np.testing.assert_array_equal(stretch(image, valid), expected)


@pytest.mark.parametrize("shape", [(60, 40), (6, 4), (3000, 2000), (300, 900)])
def test_the_map_shows_the_legends_colors_and_no_other(shape: tuple[int, int]) -> None:
    rows = np.arange(shape[0]) * 60 // shape[0]
    cols = np.arange(shape[1]) * 40 // shape[1]
    codes = checkerboard()[np.ix_(rows, cols)]
    image = np.full((*shape, 3), 99, np.uint8)
    picture = render_preview(image, codes, SCHEME, nodata=255, metres_per_pixel=10, title="t")
    layout = _Layout.of(shape, panels=2)
    allowed = {c.color for c in SCHEME.classes} | {HATCH, HATCH_GROUND}
    assert colors(picture, class_panel(layout)) <= allowed
    assert {c.color for c in SCHEME.classes if (codes == c.code).any()} <= colors(picture, class_panel(layout))


def test_every_pixel_stands_where_it_belongs() -> None:
    codes = np.array([[1, 2], [255, 7]], np.uint8)
    picture = render_preview(None, codes, SCHEME, nodata=255, metres_per_pixel=1, title="t")
    left, top, right, bottom = class_panel(_Layout.of(codes.shape, panels=1))
    middle_x, middle_y = (left + right) // 2, (top + bottom) // 2
    assert colors(picture, (left, top, middle_x, middle_y)) == {(65, 155, 223)}
    assert colors(picture, (middle_x, top, right, middle_y)) == {(57, 125, 73)}
    assert colors(picture, (left, middle_y, middle_x, bottom)) == {HATCH, HATCH_GROUND}
    assert colors(picture, (middle_x, middle_y, right, bottom)) == {(200, 40, 27)}


def test_panels_lie_beside_each_other_or_one_above_the_other() -> None:
    beside, stacked = _Layout.of((100, 100), panels=2), _Layout.of((100, 400), panels=2)
    assert beside.page_width == stacked.page_width == 1600
    assert beside.origins[0][1] == beside.origins[1][1]
    assert stacked.origins[0][0] == stacked.origins[1][0]
    for layout in (beside, stacked):
        (x0, y0), (x1, y1) = layout.origins
        assert x1 >= x0 + layout.panel[0] or y1 >= y0 + layout.panel[1]


@pytest.mark.parametrize("with_image", [True, False])
@pytest.mark.parametrize("shape", [(60, 40), (40, 60), (30, 90), (900, 20), (3, 3)])
def test_panels_are_found_on_the_page(shape: tuple[int, int], with_image: bool) -> None:
    """All of them and their frames, no title, no legend; mutation: frames of another color are found nowhere."""
    codes = np.resize(np.array([1, 2, 7, 255], np.uint8), shape)
    image = np.full((*shape, 3), 90, np.uint8) if with_image else None
    page = render_preview(image, codes, SCHEME, nodata=255, metres_per_pixel=10, title="|||||||||||")
    layout = _Layout.of(shape, panels=1 + with_image)
    (left, top), (right, bottom) = layout.origins[0], layout.origins[-1]
    right, bottom = right + layout.panel[0], bottom + layout.panel[1]
    assert panels_of(page) == (left - 1, top - 1, right + 1, bottom + 1)
    page.paste((0, 0, 0), (0, 0, *page.size))
    with pytest.raises(IndexError):
        panels_of(page)


def test_the_image_panel_is_the_image() -> None:
    image = np.zeros((50, 50, 3), np.uint8)
    image[..., 0] = 200
    codes = np.ones((50, 50), np.uint8)
    picture = render_preview(image, codes, SCHEME, nodata=255, metres_per_pixel=10, title="t")
    layout = _Layout.of((50, 50), panels=2)
    x, y = layout.origins[0]
    assert colors(picture, (x, y, x + layout.panel[0], y + layout.panel[1])) == {(200, 0, 0)}


def test_legend_ranks_by_area_and_keeps_nodata_apart() -> None:
    codes = np.array([[1, 2, 2, 2], [255, 255, 255, 255]], np.uint8)
    entries = [(e.name, e.hectares, e.share) for e in _legend(codes, SCHEME, 255, None, "no data")]
    assert entries == [("trees", "", "75.0 %"), ("water", "", "25.0 %"), ("no data", "", "50.0 % of picture")]
    exact = [(e.name, e.hectares, e.share) for e in _legend(codes, SCHEME, 255, {"water": 9.0, "сад": 1.0}, "no data")]
    assert exact[:2] == [("water", "9.0 ha", "90.0 %"), ("сад", "1.0 ha", "10.0 %")]


def test_legend_of_many_classes_ends_with_a_sum() -> None:
    many = ClassScheme(tuple(LandClass(i, f"class {i}", (i, i, i)) for i in range(100)))
    entries = list(_legend(np.arange(100, dtype=np.uint8)[None], many, 255, None, "no data"))
    assert len(entries) == MAX_LEGEND_ENTRIES + 1
    assert (entries[-1].name, entries[-1].share) == ("… and 70 more classes", "70.0 %")


def test_legend_and_map_fit_on_the_page() -> None:
    many = ClassScheme(tuple(LandClass(i, "a very long class name " * 9, (i, 9, 9)) for i in range(1)))
    codes = np.zeros((10, 10), np.uint8)
    picture = render_preview(None, codes, many, nodata=255, metres_per_pixel=10, title="title " * 99)
    white = {(255, 255, 255)}
    for edge in ((0, 0, picture.width, 20), (0, 0, 40, picture.height), (picture.width - 40, 0, *picture.size)):
        assert colors(picture, edge) == white
    assert colors(picture, (0, picture.height - 40, *picture.size)) == white


def test_an_all_nodata_map_is_hatched() -> None:
    codes = np.full((10, 10), 255, np.uint8)
    picture = render_preview(None, codes, SCHEME, nodata=255, metres_per_pixel=10, title="t", areas_ha={})
    assert colors(picture, class_panel(_Layout.of((10, 10), panels=1))) == {HATCH, HATCH_GROUND}


def test_codes_of_sixteen_bits() -> None:
    wide = ClassScheme((LandClass(1000, "a", (1, 2, 3)), LandClass(5, "b", (4, 5, 6))))
    codes = np.array([[1000, 5], [65535, 5]], np.uint16)
    picture = render_preview(None, codes, wide, nodata=65535, metres_per_pixel=10, title="t")
    found = colors(picture, class_panel(_Layout.of((2, 2), panels=1)))
    assert found == {(1, 2, 3), (4, 5, 6), HATCH, HATCH_GROUND}


def test_what_does_not_fit_is_refused() -> None:
    codes = np.ones((4, 4), np.uint8)
    with pytest.raises(ValueError, match=r"image \(4, 5, 3\) does not fit the class map \(4, 4\)"):
        render_preview(np.zeros((4, 5, 3), np.uint8), codes, SCHEME, nodata=255, metres_per_pixel=1, title="t")
    with pytest.raises(ValueError, match="class code 3 is not in the class scheme"):
        render_preview(None, codes * 3, SCHEME, nodata=255, metres_per_pixel=1, title="t")


@pytest.mark.parametrize(
    ("available", "length"), [(1, 1), (1.99, 1), (2, 2), (4.9, 2), (5, 5), (9999, 5000), (10000, 10000), (0.3, 0.2)]
)
def test_scale_bars_are_round(available: float, length: float) -> None:
    assert scale_length(available) == pytest.approx(length)


def test_the_scale_bar_measures_what_it_says() -> None:
    codes = np.ones((500, 500), np.uint8)
    picture = render_preview(None, codes, SCHEME, nodata=255, metres_per_pixel=10, title="t")
    layout = _Layout.of((500, 500), panels=1)
    row = np.asarray(picture)[layout.panels_bottom + 24, :, 0]
    inked = np.flatnonzero(row == 31)
    bar = np.split(inked, np.flatnonzero(np.diff(inked) > 1) + 1)[0]  # the label's letters come after a gap
    meters_per_page_pixel = 5000 / layout.panel[0]
    assert (bar[-1] - bar[0]) * meters_per_page_pixel == pytest.approx(2000, rel=0.005)


def test_stretch_uses_valid_pixels_only() -> None:
    bands = np.tile(np.linspace(0.02, 0.4, 100), (3, 10, 1))
    valid = np.ones((10, 100), bool)
    clean = stretch(bands, valid)
    valid[0] = False
    spoiled = bands.copy()
    spoiled[:, 0] = 1e6
    spoiled[1, 1, 5] = np.nan
    out = stretch(spoiled, valid)
    assert (out[0] == NO_IMAGE).all()
    assert tuple(out[1, 5]) == NO_IMAGE
    np.testing.assert_allclose(out[2:].astype(int), clean[2:].astype(int), atol=1)


def test_stretch_is_monotonic_uses_the_whole_range_and_keeps_grey_grey() -> None:
    out = stretch(np.tile(np.linspace(0.02, 0.4, 500), (3, 4, 1)), np.ones((4, 500), bool))
    assert (np.diff(out[0, :, 0].astype(int)) >= 0).all()
    assert out.min() < 30
    assert out.max() == 255
    assert (out == out[..., :1]).all()


def test_stretch_takes_the_blue_veil_off() -> None:
    """The same dark scene with an additive blue haze comes out nearly neutral."""
    scene = np.tile(np.linspace(0.0, 0.3, 400), (3, 4, 1)) + np.array([0.02, 0.04, 0.10])[:, None, None]
    out = stretch(scene, np.ones((4, 400), bool)).astype(int)
    joint_shift = 255 * 0.08 / 0.3
    assert np.abs(out[0, 200, 2] - out[0, 200, 0]) < joint_shift / 2


@pytest.mark.parametrize("valid", [np.zeros((3, 4), bool), np.ones((3, 4), bool)])
def test_stretch_of_nothing_and_of_a_constant(valid: NDArray[np.bool_]) -> None:
    out = stretch(np.zeros((3, 3, 4), np.float32), valid)
    assert (out == (0 if valid.all() else NO_IMAGE)).all()
