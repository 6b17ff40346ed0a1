"""What people read of a training while it runs and when it is done."""

from __future__ import annotations

import csv
import io

import numpy as np
from builders import scheme

from geoseg.training.progress import EpochRow, FitProgress, figures_table, write_log
from geoseg.training.score import figures

ROWS = (EpochRow(1, 1.5, 0.001, None, 4.0), EpochRow(2, 0.75, 0.002, 0.4375, 5.5))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(stream: io.StringIO, *, quiet: bool = False, done: int = 0) -> str:
    now = iter([0.0, 60.0, 120.0])
    progress = FitProgress(quiet=quiet, stream=stream, clock=lambda: next(now))
    progress.begin("inner places", 10, done)
    for row in ROWS[done:]:
        progress.epoch(row)
    progress.close()
    return stream.getvalue()


def test_a_line_for_each_epoch_with_the_time_left() -> None:
    assert told(io.StringIO()).splitlines() == [
        "inner places: epoch 1/10, loss 1.5000, 9:00 left",
        "inner places: epoch 2/10, loss 0.7500, mean IoU 0.438, 8:00 left",
    ]


def test_epochs_of_an_interrupted_run_do_not_count_for_the_time_left() -> None:
    assert told(io.StringIO(), done=1).splitlines() == [
        "inner places: epoch 2/10, loss 0.7500, mean IoU 0.438, 8:00 left"
    ]


def test_quiet_is_quiet() -> None:
    assert told(io.StringIO(), quiet=True) == ""
    assert told(Terminal(), quiet=True) == ""


def test_a_terminal_gets_a_bar() -> None:
    text = told(Terminal())
    assert "inner places" in text
    assert "20%" in text
    assert "mean IoU 0.438" in text


def test_the_log_is_a_table_of_all_epochs(tmp_path) -> None:
    write_log(tmp_path / "log.csv", {"inner": ROWS, "all": ROWS[:1]})
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["fit"], row["epoch"]) for row in rows] == [("inner", "1"), ("inner", "2"), ("all", "1")]
    assert [row["mean_iou"] for row in rows] == ["", "0.4375", ""]
    assert float(rows[1]["loss"]) == 0.75


def test_figures_are_a_table_in_which_numbers_stand_below_each_other() -> None:
    """Class 1: 4 pixels, 3 hits, 2 false alarms; class 3 neither occurs nor is predicted."""
    matrix = np.array([[3, 1, 0], [2, 1234, 0], [0, 0, 0]])
    lines = figures_table(figures(matrix, scheme(3)))
    head, first, second, third = (lines[n] for n in (0, 2, 3, 4))
    assert first.split()[-5:] == ["4", "0.500", "0.667", "0.600", "0.750"]
    assert "1,236" in second
    assert third.split()[-4:] == ["–"] * 4
    assert len({len(line) for line in (head, lines[1], first, second, third)}) == 1
    assert lines[-1].startswith("mean IoU 0.749, overall accuracy 0.998")
