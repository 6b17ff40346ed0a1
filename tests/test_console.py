"""Progress, summary table and warnings as a person or a log sees them."""

from __future__ import annotations

import io

import pytest

from geoseg.console import (
    MOST_LINES,
    Progress,
    aligned,
    format_duration,
    format_hectares,
    format_share,
    seam_line,
    summary_table,
    warn,
)
from geoseg.tiling.seam import Seam


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_come_about_every_tenth() -> None:
    log = io.StringIO()
    with Progress(40, 40 * 10**6, stream=log, clock=lambda: 0.0) as progress:
        for _ in range(40):
            progress.advance(10**6)
    lines = log.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [f"segment: {share} %" for share in range(10, 101, 10)]
    assert lines[-1].endswith("40/40 tiles")


def test_one_large_tile_skips_the_lines_it_passed() -> None:
    log = io.StringIO()
    with Progress(3, 100, stream=log, clock=lambda: 0.0) as progress:
        for pixels in (55, 4, 41):
            progress.advance(pixels)
    assert [line.split(",")[0] for line in log.getvalue().splitlines()] == ["segment: 55 %", "segment: 100 %"]


def test_speed_and_time_left() -> None:
    now = 0.0
    with Progress(4, 8 * 10**6, stream=io.StringIO(), clock=lambda: now) as progress:
        now = 10.0
        progress.advance(2 * 10**6)
        assert progress.line() == "segment: 25 %, 1/4 tiles, 0.20 Mpx/s, 0:30 left"
        now = 20.0
        for _ in range(3):
            progress.advance(2 * 10**6)
        assert progress.line() == "segment: 100 %, 4/4 tiles, 0.40 Mpx/s, 0:20 in all"


def test_no_tiles_is_no_division_by_zero() -> None:
    with Progress(0, 0, stream=io.StringIO()) as progress:
        assert progress.line() == "segment: 100 %, 0/0 tiles"


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_quiet_says_nothing(stream: io.StringIO) -> None:
    with Progress(2, 20, stream=stream, quiet=True) as progress:
        progress.advance(10)
        progress.advance(10)
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar_that_ends_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    with Progress(2, 20, label="trace", stream=terminal) as progress:
        progress.advance(10)
        progress.advance(10)
    text = terminal.getvalue()
    last = text.split("trace")[-1]
    assert "1/2 tiles" in text
    assert "━" in last
    assert "100%" in last
    assert "2/2 tiles" in last


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")

    def colors() -> bool:
        terminal = Terminal()
        with Progress(1, 10, stream=terminal) as progress:
            progress.advance(10)
        return any(f"\x1b[{code}" in terminal.getvalue() for code in ("38;", "3", "9"))

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert colors()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colors()


def test_an_error_inside_passes_through_and_closes_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()

    def work() -> None:
        with Progress(2, 20, stream=terminal) as progress:
            progress.advance(10)
            raise RuntimeError("tile 2")

    with pytest.raises(RuntimeError, match="tile 2"):
        work()
    assert terminal.getvalue().endswith("\x1b[?25h")  # the cursor is shown again


def test_summary_table_ranks_sums_and_aligns() -> None:
    areas = {"trees": 25.0, "water": 74.99, "木": 0.01}
    table = summary_table(areas, outside_ha=300.0, nodata_ha=1.5, masked_ha={"cloud": 98.5, "shadow": 0.0})
    assert table.splitlines() == [
        "class       hectares    share",
        "──────────  ────────  ───────",
        "water           75.0   75.0 %",
        "trees           25.0   25.0 %",
        "木              0.01   <0.1 %",
        "──────────  ────────  ───────",
        "classified       100   20.0 %",
        "cloud           98.5   19.7 %",
        "nodata           1.5    0.3 %",
        "outside          300   60.0 %",
        "total            500  100.0 %",
    ]


def test_summary_of_an_empty_map() -> None:
    assert summary_table({"trees": 0.0}).splitlines()[2:] == [
        "trees              0  0.0 %",
        "──────────  ────────  ─────",
        "classified         0  0.0 %",
    ]


@pytest.mark.parametrize(
    ("hectares", "text"),
    [
        (0, "0"),
        (0.004, "0.00"),
        (0.126, "0.13"),
        (0.999, "1.0"),
        (12.34, "12.3"),
        (99.96, "100"),
        (1234567, "1,234,567"),
    ],
)
def test_format_hectares(hectares: float, text: str) -> None:
    assert format_hectares(hectares) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0.0 %"), (0.0004, "<0.1 %"), (0.0005, "0.1 %"), (0.1234, "12.3 %"), (1, "100.0 %")]
)
def test_format_share(share: float, text: str) -> None:
    assert format_share(share) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (754, "12:34"), (3723, "1:02:03")])
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_warnings_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    warn("values look like DN")
    assert capsys.readouterr() == ("", "warning: values look like DN\n")


def test_very_many_classes_share_a_line() -> None:
    """The smallest ones; no hectare is lost. Mutation: the rest cut off instead of summed."""
    lines = summary_table({f"class {n}": float(n) for n in range(MOST_LINES + 50)}).splitlines()
    assert len(lines) == MOST_LINES + 4
    assert [line.split()[:3] for line in lines[2:4]] == [["class", "149", "149"], ["class", "148", "148"]]
    assert lines[-3].split()[:3] == ["51", "others", f"{sum(range(51)):,}"]
    assert lines[-1].split()[1] == f"{sum(range(MOST_LINES + 50)):,}"


@pytest.mark.parametrize(
    ("at_seam", "at_edge", "line"),
    [
        (6e-4, 8e-3, "seam: 0.06 % of pixels differ between neighboring chips at the seam, 0.8 % at the chip's edge"),
        (0.0, None, "seam: 0 % of pixels differ between neighboring chips at the seam"),
        (0.034, 0.4567, "seam: 3.4 % of pixels differ between neighboring chips at the seam, 46 % at the chip's edge"),
    ],
)
def test_the_seam_in_a_sentence(at_seam, at_edge, line) -> None:
    assert seam_line(Seam(at_seam=at_seam, at_edge=at_edge, seam_px=9, edge_px=9)) == line


def test_aligned_columns_are_as_wide_as_they_must_be() -> None:
    assert aligned(["class", "ha"], [["森", "1,234"], ["bare", ""]]).splitlines() == [
        "class     ha",
        "─────  ─────",
        "森     1,234",
        "bare",
    ]
