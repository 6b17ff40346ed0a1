"""Charts: what is drawn stands where it should."""

from __future__ import annotations

import numpy as np
import pytest
from builders import scheme
from PIL import Image

from geoseg import charts
from geoseg.charts import LINES, confusion_chart, curves_chart


def places(page: Image.Image, color: tuple[int, int, int]) -> np.ndarray:
    """(n, 2) rows and columns of pixels of a color, below the heading."""
    pixels = np.argwhere((np.asarray(page) == color).all(axis=-1))
    return pixels[pixels[:, 0] > 140]


def test_a_falling_curve_falls_and_lies_in_its_panel() -> None:
    falling = [(float(x), 1.0 / x) for x in range(1, 30)]
    page = curves_chart({"loss": {"one": falling}}, title="t", across="epoch")
    found = places(page, LINES[0])
    left, right = found[found[:, 1] == found[:, 1].min()], found[found[:, 1] == found[:, 1].max()]
    assert left[:, 0].mean() < right[:, 0].mean() - 200  # rows count from the top
    assert found[:, 1].min() >= charts.LEFT
    assert found[:, 1].max() <= charts.WIDTH - charts.MARGIN


def test_the_higher_curve_is_above_and_keeps_its_color_in_each_panel() -> None:
    low, high = [(1.0, 0.1), (2.0, 0.12)], [(1.0, 0.5), (2.0, 0.6)]
    page = curves_chart({"a": {"low": low, "high": high}, "b": {"high": high}}, title="t", across="epoch")
    under, above = (places(page, color) for color in LINES[:2])
    middle = charts.MARGIN + 116 + charts.PANEL_HEIGHT + 42
    first = above[above[:, 0] < middle]
    assert first[:, 0].mean() < under[:, 0].mean() - 100
    assert (under[:, 0] < middle).all()
    assert (above[:, 0] > middle).any()


@pytest.mark.parametrize(
    "points", [[(1.0, 0.5)], [(1.0, 0.0), (2.0, 0.0)], [(1.0, 1e6), (2.0, 1e6 + 1)], [(1.0, -3.0)]]
)
def test_odd_curves_are_drawn(points) -> None:
    page = curves_chart({"a": {"one": points}, "empty": {}}, title="t", across="epoch")
    assert len(places(page, LINES[0]))
    assert page.height < charts.MARGIN + 96 + 2 * charts.PANEL_HEIGHT


def test_a_training_that_measured_nothing_has_a_picture_all_the_same() -> None:
    assert curves_chart({"a": {"one": []}}, title="t", across="epoch").width == charts.WIDTH


def test_cells_are_as_dark_as_their_share_of_the_true_class() -> None:
    """Classes 1 and 3 are right, class 2 is taken for class 1; class 4 has no pixels."""
    matrix = np.array([[9, 0, 0, 0], [50, 0, 0, 0], [0, 0, 3, 0], [0, 0, 0, 0]])
    page = confusion_chart(matrix, scheme(4), title="t")
    left, top = (
        page.width - charts.MARGIN - 4 * charts.CELL_WIDTH,
        page.height - 30 - charts.MARGIN - 4 * charts.CELL_HEIGHT,
    )
    dark = {
        (row, col)
        for row in range(4)
        for col in range(4)
        if page.getpixel((left + col * charts.CELL_WIDTH + 8, top + row * charts.CELL_HEIGHT + 8)) == charts.SHADE
    }
    assert dark == {(0, 0), (1, 0), (2, 2)}


def test_many_classes_are_summed_up() -> None:
    size = charts.MOST_CLASSES + 6
    matrix = np.diag(np.arange(1, size + 1))
    matrix[0, 1] = 2
    counts, names = charts._most_frequent(matrix, [f"c{n}" for n in range(size)])
    assert counts.shape == (charts.MOST_CLASSES, charts.MOST_CLASSES)
    assert counts.sum() == matrix.sum()
    assert names[-1] == "7 others"
    assert names[0] == "c7"
    assert counts[-1, -1] == matrix[:7, :7].sum()
    assert confusion_chart(matrix, scheme(size), title="t").height < 2000


@pytest.mark.parametrize(("step", "nice"), [(0.12, 0.2), (0.2, 0.2), (3, 5), (7, 10), (1e-9, 1e-9)])
def test_steps_of_an_axis_are_round(step, nice) -> None:
    assert charts._nice(step) == pytest.approx(nice)
