"""Pages: self-contained, escaped, readable without eyes, complete."""

from __future__ import annotations

import base64
import csv
import re
from io import BytesIO, StringIO
from typing import Any

import numpy as np
import pytest
from html_kit import Checked
from jinja2 import UndefinedError
from PIL import Image

from geoseg.classes import ClassScheme, LandClass
from geoseg.report.accuracy import MOST_IN_HEAT_MAP, accuracy_page, classes_csv, confusion_csv, points_page
from geoseg.report.page import render
from geoseg.report.pictures import AGREE, DIFFER, difference_picture, label_picture

NASTY = '<script>alert("x")</script> & "Wald"'
SCHEME = ClassScheme(
    (LandClass(1, NASTY, (0, 100, 0)), LandClass(2, "water, 'deep'", (0, 0, 200)), LandClass(9, "Café", (9, 9, 9)))
)


def row(pixels: int, map_pixels: int, value: float | None) -> dict[str, Any]:
    keys = ("iou", "f1", "users_accuracy", "producers_accuracy", "boundary_iou")
    return {"code": 1, "pixels": pixels, "map_pixels": map_pixels, **dict.fromkeys(keys, value)}


def report(**changes: Any) -> dict[str, Any]:
    return {
        "prediction": f"/secret/folder/{NASTY.replace('/', '')}.tif",
        "reference": "/other/truth.gpkg",
        "pixels": 1234567,
        "overall_accuracy": 0.75,
        "kappa": None,
        "mean_iou": 0.5,
        "mean_f1": 0.6,
        "classes": {NASTY: row(30, 20, 0.25), "water, 'deep'": row(10, 20, 0.5), "Café": row(0, 0, None)},
        "confusion": {"counts": [[15, 15, 0], [5, 5, 0], [0, 0, 0]]},
        "boundary": {"distance_px": 2, "distance_m": 20.0, "mean_iou": 0.3},
        "calibration": {
            "scores": "/x/scene.confidence.tif",
            "pixels": 40,
            "ece": 0.125,
            "brier": None,
            "bins": [
                {"low": 0.0, "high": 0.5, "pixels": 0, "confidence": None, "accuracy": None},
                {"low": 0.5, "high": 1.0, "pixels": 40, "confidence": 0.9, "accuracy": 0.75},
            ],
        },
        "warnings": ["mind <this>"],
        "notes": ["a note"],
    } | changes


LABELS = np.array([[0, 1, 3], [1, 1, 4]], np.uint8)


def page(**changes: Any) -> str:
    return accuracy_page(report(**changes), SCHEME, LABELS, np.roll(LABELS, 1, 1), f"Accuracy of {NASTY}")


def test_a_page_is_one_document_that_needs_nothing() -> None:
    text = page()
    found = Checked(text)
    links = [value for _, attrs in found.seen for key, value in attrs.items() if key in {"src", "href"}]
    assert [link for link in links if not str(link).startswith(("data:image/png;base64,", "#"))] == []
    assert not re.search(r"https?://|url\(|@import|<script|<link", text)
    assert "alert(" in "".join(found.words)  # as words, not as a program


def test_a_page_can_be_read_without_eyes() -> None:
    found = Checked(page())
    assert found.all("html") == [{"lang": "en"}]
    assert all(attrs.get("alt") for attrs in found.all("img"))
    assert all(attrs.get("role") == "img" and attrs.get("aria-labelledby") for attrs in found.all("svg"))
    ids = {attrs["id"] for _, attrs in found.seen if "id" in attrs}
    named = {word for attrs in found.all("svg") for word in str(attrs["aria-labelledby"]).split()}
    assert named <= ids
    assert all(attrs.get("scope") in {"col", "row"} for attrs in found.all("th"))
    assert len(found.all("caption")) == len(found.all("table")) == 3
    assert [tag for tag, _ in found.seen if tag in {"h1", "h2", "h3"}] == ["h1", *["h2"] * 4]


def test_a_page_tells_the_figures_and_not_the_folders() -> None:
    text = "".join(Checked(page()).words)
    for part in ("75.0 %", "1,234,567", "boundary IoU (2 px)", "mind <this>", "a note", "0.125", "–"):
        assert part in text
    assert "Café" not in text  # a class that nobody has
    assert "secret" not in text
    plain = "".join(Checked(page(boundary=None, calibration=None)).words)
    assert "boundary IoU" not in plain
    assert "Calibration" not in plain


def test_many_classes_leave_the_rarest_out_of_the_picture() -> None:
    n = MOST_IN_HEAT_MAP + 3
    scheme = ClassScheme(tuple(LandClass(i, f"c{i}", (i, i, i)) for i in range(n)))
    counts = np.diag(np.arange(1, n + 1)).tolist()
    classes = {f"c{i}": row(i + 1, i + 1, 1.0) for i in range(n)}
    text = accuracy_page(report(classes=classes, confusion={"counts": counts}), scheme, LABELS, LABELS, "t")
    assert "3 rarer classes are not shown" in text
    assert ">c2</th><td" not in text.split("Numbers of pixels")[1]
    assert ">c3</th><td" in text.split("Numbers of pixels")[1]


def test_pictures_have_the_classes_colors() -> None:
    def pixels(address: str) -> np.ndarray:
        return np.asarray(Image.open(BytesIO(base64.b64decode(address.partition(",")[2]))))

    shown = pixels(label_picture(LABELS, SCHEME))
    assert shown.shape == (2, 3, 4)
    assert shown[0, 0].tolist() == [0, 100, 0, 255]
    assert shown[..., 3].tolist() == [[255, 255, 0], [255, 255, 0]]
    other = LABELS.copy()
    other[0, 0] = 2
    differs = pixels(difference_picture(LABELS, other, 3))
    assert differs[0, 0].tolist() == [*DIFFER, 255]
    assert differs[0, 1].tolist() == [*AGREE, 255]
    assert differs[0, 2, 3] == 0


def test_tables_read_back() -> None:
    rows = list(csv.reader(StringIO(classes_csv(report()))))
    assert rows[0] == [
        "code",
        "class",
        "pixels",
        "map_pixels",
        "users_accuracy",
        "producers_accuracy",
        "f1",
        "iou",
        "boundary_iou",
    ]
    assert rows[1] == ["1", NASTY, "30", "20", *["0.25"] * 5]
    assert rows[3][4:] == [""] * 5  # no figure is no number
    matrix = list(csv.reader(StringIO(confusion_csv(report()))))
    assert matrix[0][1:] == [row[0] for row in matrix[1:]] == list(report()["classes"])
    assert [row[1:] for row in matrix[1:]] == [["15", "15", "0"], ["5", "5", "0"], ["0", "0", "0"]]


def test_pages_of_points_and_missing_values() -> None:
    assert "a < b" in "".join(Checked(points_page("a < b", "Accuracy")).words)
    with pytest.raises(UndefinedError):
        render("points.html", title="no table")
