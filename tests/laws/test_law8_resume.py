"""Law 8, resume: a run that was killed anywhere goes on where it was, and ends with the same bytes.

Mutations that turn it red: tile files believed without their checksum (shown below); the work folder cleared on
failure; its name made from the whole key; a resumed run with tiles of its own size.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from cli_kit import geoseg, names_in
from fork_kit import Running
from resume_kit import RECORD, TILE, assert_resumes, assert_same_answer, computed, tiles_in

from geoseg.io import tile_file

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


DEATHS = ["plan", "tile:before-rename:6", "cog:1", "vector:2", "publish:between-renames:1"]
SLOW_DEATHS = ["open", "tile:1", "tile:5", "tile:before-rename:1", "cog:2", "vector:1", "publish:staged"]
SLOW_DEATHS += ["publish:before-record"]
SLOW_DEATHS += ["publish:record-removed", "publish:between-renames:5"]


@pytest.mark.parametrize("at", [*DEATHS, *(pytest.param(at, marks=pytest.mark.slow) for at in SLOW_DEATHS)])
def test_killed_twice_at_a_stage_and_resumed(forked, command, undisturbed, tmp_path, at) -> None:
    out = tmp_path / "out"
    kept = set()
    for _ in range(2):
        assert forked.run(*command, out, failpoint=at).code == -signal.SIGKILL
        assert kept <= tiles_in(out)
        kept = tiles_in(out)
        assert not (out / RECORD).exists()
    if at.startswith("tile:"):
        # The second run begins where the first died.
        assert len(kept) >= 2 * (int(at.rpartition(":")[2]) - 2 * ("before" in at))
    assert_resumes(command, out, undisturbed)


@pytest.mark.parametrize(
    "at", ["vector:1", *(pytest.param(at, marks=pytest.mark.slow) for at in ("tile:4", "publish:before-record"))]
)
def test_killed_while_an_older_output_stands(forked, command, model, piece, undisturbed, tmp_path, at) -> None:
    """`--overwrite` never discards work of its own key."""
    out = tmp_path / "out"
    assert geoseg("run", piece, "-o", out, "-m", model, "--format", "fgb", "--margin", "8").code == 0
    assert forked.run(*command, out, "--overwrite", failpoint=at).code == -signal.SIGKILL
    assert tiles_in(out)
    assert (out / RECORD).exists() == (not at.startswith("publish"))
    assert_resumes(command, out, undisturbed)


@pytest.mark.parametrize(
    ("at", "number", "code"),
    [
        ("plan", signal.SIGTERM, 143),
        ("tile:1", signal.SIGINT, 130),
        ("tile:5", signal.SIGTERM, 143),
        ("tile:5", signal.SIGHUP, 129),
        ("cog:1", signal.SIGTERM, 143),
        ("vector:1", signal.SIGINT, 130),
        ("vector:2", signal.SIGTERM, 143),
    ],
)
def test_asked_to_stop(forked, command, undisturbed, tmp_path, at, number, code) -> None:
    """Finished tiles stay; lock, drafts and everything else go."""
    out = tmp_path / "out"
    done = forked.run(*command, out, failpoint=f"{at} {signal.Signals(number).name}")
    assert done.code == code, done.err
    assert done.last.endswith("; run the same command again.")
    assert "Traceback" not in done.err
    left = {str(path.relative_to(out)) for path in out.rglob("*") if path.suffix != ".tile"}
    if at == "plan":
        assert left == set()
    else:
        (work,) = names_in(out)
        assert left == {work, f"{work}/key.json", f"{work}/tiles"}
        assert len(tiles_in(out)) >= int(at.rpartition(":")[2])
    assert_resumes(command, out, undisturbed)


@pytest.fixture
def interrupted(forked, command, tmp_path) -> Path:
    """A folder with some tiles of a killed run."""
    out = tmp_path / "interrupted"
    assert forked.run(*command, out, failpoint="tile:6").code == -signal.SIGKILL
    assert tiles_in(out)
    return out


def work_of(out: Path) -> Path:
    (work,) = out.glob(".piece.geoseg-*")
    return work


def key_of(content: bytes) -> str:
    """The key in a tile file's header."""
    length = int.from_bytes(content[8:12], "little")
    return json.loads(content[12 : 12 + length])["key"]


def damage(path: Path, how: str) -> None:
    """Do to a tile file what disks and people do."""
    content = path.read_bytes()
    if how == "foreign":
        record = tile_file.decode(content, key_of(content))
        path.write_bytes(tile_file.encode(record, "beef" * 16))
    elif how == "deleted":
        path.unlink()
    else:
        half = len(content) // 2
        flipped = content[:half] + bytes([content[half] ^ 4]) + content[half + 1 :]
        path.write_bytes({"cut": content[:half], "zeros": bytes(len(content)), "flip": flipped}[how])


@pytest.mark.parametrize("how", ["cut", "zeros", "flip", "foreign", "deleted"])
def test_damaged_tiles_are_computed_again(interrupted, command, undisturbed, how) -> None:
    victim = min(work_of(interrupted).glob("tiles/*.tile"))
    damage(victim, how)
    with computed() as counts:
        done = geoseg(*command, interrupted)
    assert done.code == 0, done.err
    assert counts[int(victim.stem)] == 1
    assert_same_answer(interrupted, undisturbed)


def test_the_law_falls_when_tile_files_are_believed(interrupted, command, undisturbed, monkeypatch) -> None:
    """Mutation: no checksum. A stored tile with other pixels must not pass, and here it does."""
    victim, decode = min(work_of(interrupted).glob("tiles/*.tile")), tile_file.decode
    content = victim.read_bytes()
    record = decode(content, key_of(content))
    other = replace(record, arrays=record.arrays | {"classes": (record.arrays["classes"] + 1) % 4})
    victim.write_bytes(tile_file.encode(other, key_of(content))[:-32] + bytes(32))
    monkeypatch.setattr(
        tile_file, "decode", lambda content, key: decode(content[:-32] + tile_file._digest(content[:-32]), key)
    )
    assert geoseg(*command, interrupted).code == 0
    with pytest.raises(AssertionError):
        assert_same_answer(interrupted, undisturbed)


def test_another_minimum_mapping_unit_finds_the_tiles(forked, command, tmp_path, undisturbed) -> None:
    """Tiles depend on the part of the key before the polygons only."""
    out = tmp_path / "out"
    assert forked.run(*command, out, failpoint="vector:1").code == -signal.SIGKILL
    with computed() as counts:
        done = geoseg(*command, out, "--mmu", "9px")
    assert (done.code, counts) == (0, {})
    assert (out / "piece.raw.tif").read_bytes() == (undisturbed / "piece.classes.tif").read_bytes()


def test_work_of_another_key_is_named_and_kept(interrupted, command, undisturbed) -> None:
    ready = tiles_in(interrupted)
    for more in ([], ["--overwrite"]):
        done = geoseg(*command, interrupted, "--margin", "8", *more)
        assert done.code == 73
        assert "begun with other settings or inputs (chip: [32, 4, 1] → [32, 8, 1])" in done.last
        assert "--restart" in done.last
    assert tiles_in(interrupted) == ready
    with computed() as counts:
        assert geoseg(*command, interrupted, "--margin", "8", "--restart").code == 0
    assert len(counts) > len(ready)
    assert names_in(interrupted) == names_in(undisturbed)


def test_restart_discards_work_of_the_same_key_too(interrupted, command, undisturbed) -> None:
    with computed() as counts:
        done = geoseg(*command, interrupted, "--restart")
    assert done.code == 0
    assert "resumed" not in done.err
    assert set(counts) > set(range(6))
    assert_same_answer(interrupted, undisturbed)


def test_work_without_a_finished_tile_is_in_nobodys_way(forked, command, tmp_path) -> None:
    out = tmp_path / "out"
    assert forked.run(*command, out, failpoint="plan").code == -signal.SIGKILL
    assert work_of(out)
    assert geoseg(*command, out, "--margin", "8").code == 0
    assert not list(out.glob(".*"))


def test_the_tile_size_of_the_first_run_stays(interrupted, command, undisturbed) -> None:
    """It follows the number of processors, and a run may be resumed on another machine; but a wish is a wish."""
    ready = tiles_in(interrupted)
    plain = [part for part in command if part not in TILE]
    done = geoseg(*plain, interrupted, "--tile", "128")
    assert done.code == 73
    assert "--tile makes them" in done.last
    assert tiles_in(interrupted) == ready
    with computed() as counts:
        done = geoseg(*plain, interrupted)
    assert done.code == 0
    assert set(counts) & ready == set()
    assert_same_answer(interrupted, undisturbed)


def test_an_error_keeps_the_tiles(command, undisturbed, tmp_path, monkeypatch) -> None:
    """Whatever ends a run: here the disk is full at the seventh tile."""
    out, write, seen = tmp_path / "out", tile_file.TileFolder.write, []

    def full(self, record):
        seen.append(record.number)
        if len(seen) > 6:
            with tile_file.posix.disk_errors("tile file", self.folder):
                raise OSError(28, "No space left on device")
        write(self, record)

    with monkeypatch.context() as patch:
        patch.setattr(tile_file.TileFolder, "write", full)
        done = geoseg(*command, out)
    assert done.code == 74
    assert "No space left on device" in done.last
    assert len(tiles_in(out)) == 6
    assert [path.name for path in out.iterdir()] == [work_of(out).name]
    assert_resumes(command, out, undisturbed)


def test_up_to_date_leaves_other_work_alone(interrupted, command, undisturbed, tmp_path) -> None:
    """Begun with other settings, then somebody asks for what stands there already."""
    out = tmp_path / "out"
    out.mkdir()
    for path in undisturbed.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    work = out / f"{work_of(interrupted).name[:-12]}0123456789ab"
    work_of(interrupted).rename(work)
    assert "up to date" in geoseg(*command, out).out
    assert tiles_in(out)


@pytest.mark.parametrize("runs", [2, 4])
def test_of_many_runs_at_once_one_works(forked, command, undisturbed, tmp_path, runs) -> None:
    out = tmp_path / "out"
    started = [forked.start(*command, out) for _ in range(runs)]
    ended = [run.end() for run in started]
    codes = Counter(done.code for done in ended)
    said = "".join(done.err for done in ended)
    assert set(codes) <= {0, 73}, said
    assert codes[0] >= 1
    assert said.count("output is locked by process") == codes[73]
    assert said.count("segment: 100 %") == 1  # a late one may find everything done
    assert_same_answer(out, undisturbed)


@pytest.fixture(scope="module")
def clock(forked, command, tmp_path_factory) -> tuple[float, float]:
    """Seconds of a run until its first tile is kept, and from there to its end, here and now."""
    folder = tmp_path_factory.mktemp("clock")
    assert forked.run(*command, folder / "warm").code == 0
    begun = time.monotonic()
    run = forked.start(*command, folder / "out")
    _wait_for_tiles(run, folder / "out")
    first = time.monotonic()
    assert run.end().code == 0
    return first - begun, time.monotonic() - first


def _wait_for_tiles(run: Running, out: Path) -> None:
    while run.process.is_alive() and not tiles_in(out):
        run.process.join(0.002)


EARLY = 6
"""Of 30 moments so many fall anywhere before the first tile, where nothing is at stake."""


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_at_30_random_moments(forked, command, undisturbed, clock, tmp_path, number, capsys) -> None:
    """At least half of them after the first tile."""
    histogram: Counter[str] = Counter()
    before_s, after_s = clock
    draw = random.Random(int(number))
    for attempt in range(90):
        out, early = tmp_path / f"{attempt}", histogram.total() < EARLY
        run = forked.start(*command, out)
        if not early:
            _wait_for_tiles(run, out)
        # Cubed: most of the time goes into polygons, and moments among the tiles are wanted, too.
        run.process.join(before_s * draw.random() if early else after_s * draw.random() ** 3)
        if run.process.is_alive():
            os.kill(run.process.pid, number)
        done = run.end()
        if done.code == 0:  # too late: this machine has become faster
            assert_same_answer(out, undisturbed)
            after_s *= 0.9
            continue
        assert done.code in {-number, 128 + number}, done.err
        histogram[_moment(out)] += 1
        assert_resumes(command, out, undisturbed)
        if histogram.total() == 30:
            break
    with capsys.disabled():
        print(f"\n{signal.Signals(number).name}: {dict(sorted(histogram.items()))}")
    assert histogram.total() == 30
    assert histogram["before the first tile"] <= 15


def _moment(out: Path) -> str:
    """Where a run was when it ended."""
    if (out / RECORD).exists():
        return "after the record"
    if not tiles_in(out):
        return "before the first tile"
    ready = len(tiles_in(out))
    return f"{ready // 5 * 5} to {ready // 5 * 5 + 4} tiles"
