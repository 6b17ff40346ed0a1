"""The page and the tables of an accuracy assessment."""

from __future__ import annotations

import csv
from io import StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import ClassScheme
from geoseg.report.page import render
from geoseg.report.pictures import AGREE, DIFFER, difference_picture, label_picture

CLASS_COLUMNS = ("pixels", "map_pixels", "users_accuracy", "producers_accuracy", "f1", "iou", "boundary_iou")
OBJECT_COLUMNS = ("reference", "map", "pq", "sq", "rq")
DETECTION_COLUMNS = ("precision", "recall", "f1", "tp", "fp", "fn")
MOST_IN_HEAT_MAP = 40
"""Of more classes the picture shows the most frequent."""


def accuracy_page(
    report: dict[str, Any], scheme: ClassScheme, reference: NDArray[Any], predicted: NDArray[Any], title: str
) -> str:
    """The HTML page of a comparison of two maps.

    Args:
        report: as `geoseg.stories.evaluate_report.report_of` gives it.
        scheme: classes in the order of the confusion matrix.
        reference: labels (row, col), decimated.
        predicted: labels of the map.
        title: heading.
    """
    occurring = [c for c in scheme.classes if _seen(report, c.name)]
    return render(
        "accuracy.html",
        title=title,
        report=report,
        columns=[key for key in CLASS_COLUMNS[2:] if key != "boundary_iou" or report["boundary"] is not None],
        classes=[{"name": c.name, "color": c.hex_color} for c in occurring],
        heat=_heat(report, scheme),
        pictures=(
            ("Map", label_picture(predicted, scheme)),
            ("Reference", label_picture(reference, scheme)),
            ("Difference", difference_picture(reference, predicted, len(scheme))),
        ),
        agree=_hex(AGREE),
        differ=_hex(DIFFER),
    )


def points_page(table: str, title: str) -> str:
    """The HTML page of an assessment by points: its tables as they stand in the terminal."""
    return render("points.html", title=title, table=table)


def classes_csv(report: dict[str, Any]) -> str:
    """A row a class; empty where there is no figure."""
    rows = report["classes"]
    return _csv(
        [
            ["code", "class", *CLASS_COLUMNS],
            *([r["code"], n, *(r.get(c) for c in CLASS_COLUMNS)] for n, r in rows.items()),
        ]
    )


def confusion_csv(report: dict[str, Any]) -> str:
    """The confusion matrix: a row a class of the reference, a column a class of the map."""
    names, counts = list(report["classes"]), report["confusion"]["counts"]
    return _csv([["reference \\ map", *names], *([name, *row] for name, row in zip(names, counts, strict=True))])


def objects_csv(report: dict[str, Any]) -> str:
    """A row a class: panoptic quality, and for things how many objects were found at each threshold of IoU."""
    figures = report["objects"]
    columns = [(at, key) for at in figures["objects"] for key in DETECTION_COLUMNS]
    rows: list[list[Any]] = [["class", "thing", *OBJECT_COLUMNS, *(f"{key}_{at}" for at, key in columns)]]
    for name, row in figures["classes"].items():
        found = row.get("objects", {})
        detected = [found.get(at, {}).get(key) for at, key in columns]
        rows.append([name, int(row["thing"]), *(row[key] for key in OBJECT_COLUMNS), *detected])
    return _csv(rows)


def _csv(rows: list[list[Any]]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _heat(report: dict[str, Any], scheme: ClassScheme) -> dict[str, Any]:
    """The confusion matrix of the classes that occur, each row in parts of its sum."""
    counts = np.array(report["confusion"]["counts"], np.int64)
    weight = counts.sum(axis=0) + counts.sum(axis=1)
    kept = np.sort(np.argsort(-weight, kind="stable")[: min(MOST_IN_HEAT_MAP, int((weight > 0).sum()))])
    part = counts[np.ix_(kept, kept)]
    shares = part / np.maximum(counts.sum(axis=1)[kept], 1)[:, None]
    return {
        "names": [scheme.names[index] for index in kept],
        "rows": [
            [{"share": share, "count": count} for share, count in zip(*row, strict=True)]
            for row in zip(shares.tolist(), part.tolist(), strict=True)
        ],
        "left_out": int((weight > 0).sum()) - len(kept),
    }


def _seen(report: dict[str, Any], name: str) -> bool:
    row = report["classes"][name]
    return bool(row["pixels"] or row["map_pixels"])


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
