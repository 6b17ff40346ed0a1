"""What is true of a run that was stopped, and of the one that goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cli_kit import geoseg, names_in, polygons_in

from geoseg.io.record import verify_record
from geoseg.stories import rasters

FLAGS = ("--confidence", "--format", "gpkg,geojson")
TILE = ("--tile", "64")
RECORD = "piece.json"


def tiles_in(out: Path) -> set[int]:
    """Numbers of the tiles that have a file."""
    return {int(path.stem) for path in out.glob(".piece.geoseg-*/tiles/*.tile")}


@contextmanager
def computed() -> Iterator[Counter[int]]:
    """How often each tile is computed by runs of this process."""
    counts: Counter[int] = Counter()
    work = rasters.TileJob

    class Counted(work):  # type: ignore[misc, valid-type]
        def __call__(self, tile):
            counts[tile.number] += 1
            return super().__call__(tile)

    rasters.TileJob = Counted
    try:
        yield counts
    finally:
        rasters.TileJob = work


def assert_same_answer(out: Path, expected: Path, *, but: Collection[str] = ()) -> None:
    """All that a run makes, byte by byte; polygons by value, since a GeoPackage holds the time of writing.

    Items of the summary and files named in `but` may differ.
    """
    assert names_in(out) == names_in(expected)  # no lock, no work folder
    assert verify_record(out / RECORD) == []
    for path in expected.iterdir():
        if path.name in but:
            continue
        if path.suffix == ".gpkg":
            assert polygons_in(out / path.name).to_wkb().equals(polygons_in(path).to_wkb())
        elif path.name == RECORD:
            here, there = (json.loads(file.read_text()) for file in (out / RECORD, path))
            told, meant = (dict(item["geoseg:answer"]) for item in (here, there))  # tallies, chips, warnings
            assert [name for name in meant if told[name] != meant[name] and name not in but] == []
        else:
            assert (out / path.name).read_bytes() == path.read_bytes(), path.name


def assert_resumes(command: Sequence[object], out: Path, undisturbed: Path) -> None:
    """The next run computes the tiles that are not there, each once, and no other."""
    ready, again = tiles_in(out), ["--overwrite"] * (out / RECORD).exists()
    with computed() as counts:
        done = geoseg(*command, out, *again)
    assert done.code == 0, done.err
    assert_same_answer(out, undisturbed)
    assert set(counts) & ready == set()
    assert set(counts.values()) <= {1}
    if ready:
        total = len(ready) + len(counts)
        assert f"resumed: {len(ready)} of {total} tiles were finished before" in done.err.splitlines()
