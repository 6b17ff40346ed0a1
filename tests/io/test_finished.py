"""Rasters of a finished run, read back as class maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders import scheme, write_raster

from geoseg.errors import OutputError
from geoseg.grid import Window
from geoseg.io.finished import opened_answer

CODES = np.array([[10, 20, 30, 255], [255, 30, 20, 10], [30, 30, 77, 10]], "uint8")


def rasters(folder: Path) -> tuple[Path, dict[str, Path]]:
    """Three classes of the codes 10, 20, 30; a code that is none; scores that tell their place."""
    bands = np.arange(36, dtype="uint8").reshape(3, 3, 4)
    scores = {
        "confidence": write_raster(folder / "confidence.tif", bands[0], nodata=0),
        "probabilities": write_raster(folder / "probabilities.tif", bands, nodata=0),
    }
    return write_raster(folder / "classes.tif", CODES, nodata=255), scores


def test_codes_become_indices_and_scores_stay(tmp_path) -> None:
    classes, scores = rasters(tmp_path)
    window = Window(1, 0, 3, 3)
    with opened_answer(classes, scores, scheme(3)) as read:
        found = read(window)
    assert found.window == window
    assert found.index.tolist() == [[1, 2, 255], [2, 1, 0], [2, 255, 0]]
    assert found.index.dtype == np.uint8
    assert found.scores["confidence"].tolist() == [[1, 2, 3], [5, 6, 7], [9, 10, 11]]
    np.testing.assert_array_equal(found.scores["probabilities"][:, 2, 1], [10, 22, 34])


def test_one_class_has_one_band_of_probabilities(tmp_path) -> None:
    """Whose axis of classes stays."""
    classes = write_raster(tmp_path / "classes.tif", np.full((2, 2), 10, "uint8"))
    scores = {"probabilities": write_raster(tmp_path / "p.tif", np.full((1, 2, 2), 255, "uint8"))}
    with opened_answer(classes, scores, scheme(1)) as read:
        assert read(Window(0, 0, 2, 1)).scores["probabilities"].tolist() == [[[255, 255]]]


def test_what_cannot_be_opened_or_read_any_more_is_told(tmp_path) -> None:
    classes, scores = rasters(tmp_path)

    def opened(path: Path) -> None:
        with opened_answer(path, scores, scheme(3)) as read:
            read(Window(0, 0, 4, 3))

    with pytest.raises(OutputError, match=r"cannot be read any more .*--overwrite instead of --update"):
        opened(tmp_path / "gone.tif")
    classes.write_bytes(classes.read_bytes()[:-8])
    with pytest.raises(OutputError, match="cannot be read any more"):
        opened(classes)
