"""Law 8 on a full disk: exit 74, the old output untouched, and the tiles wait for room."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_kit import Done, geoseg, states
from resume_kit import assert_resumes, assert_same_answer, tiles_in

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits and mounts"),
]

FACTOR = 1.35
"""From one size to the next: fine enough that every stage runs into it."""
MIB = 2**20


@pytest.fixture(scope="module")
def older(piece, model, tmp_path_factory) -> Path:
    """A finished output of other settings."""
    out = tmp_path_factory.mktemp("older")
    assert geoseg("run", piece, "-o", out, "-m", model, "--format", "fgb", "--margin", "8").code == 0
    return out


def put_older(older: Path, out: Path) -> dict[str, tuple[int, int]]:
    out.mkdir(exist_ok=True)
    for path in older.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    return states(out)


def assert_refused(done: Done, out: Path, before: dict[str, tuple[int, int]]) -> str:
    """One line that names the path; the old output stands. Gives where it happened."""
    assert done.code == 74, done.err
    assert "Traceback" not in done.err
    assert str(out) in done.last
    after = states(out)
    assert {name: state for name, state in after.items() if not name.startswith(".geoseg")} | before == after
    assert sum(name.startswith(".") for name in after) == bool(tiles_in(out))
    return done.last.split(str(out))[0]


def test_files_may_not_grow(forked, command, older, undisturbed, tmp_path, capsys) -> None:
    """`ulimit -f` at every size that some file of the run has."""
    stages: dict[str, int] = {}
    size, done = 200, Done(74, "", "")
    while done.code:
        out = tmp_path / str(size)
        before = put_older(older, out)
        done = forked.run(*command, out, "--overwrite", largest_file=size)
        if done.code:
            stage = assert_refused(done, out, before)
            stages[stage] = stages.get(stage, 0) + 1
            if stages[stage] == 1:
                assert_resumes(command, out, undisturbed)
        size = int(size * FACTOR)
    assert_same_answer(out, undisturbed)
    with capsys.disabled():
        print(f"\n{stages}")
    assert len(stages) >= 4


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of a few MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("may not mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def resize(place: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(place)], check=True)


def test_a_file_system_fills_up(forked, command, older, undisturbed, small_disk, capsys) -> None:
    stages: dict[str, int] = {}
    done, more = Done(74, "", ""), 4096 * 16
    for number in range(60):
        out = small_disk / str(number)
        resize(small_disk, 64 * MIB)
        before = put_older(older, out)
        used = sum(path.stat().st_blocks * 512 for path in small_disk.rglob("*"))
        resize(small_disk, used + more)
        done = forked.run(*command, out, "--overwrite")
        resize(small_disk, 64 * MIB)
        if done.code == 0:
            assert_same_answer(out, undisturbed)
            break
        stage = assert_refused(done, out, before)
        stages[stage] = stages.get(stage, 0) + 1
        if stages[stage] == 1:
            assert_resumes(command, out, undisturbed)
        subprocess.run(["rm", "-rf", str(out)], check=True)
        more = int(more * 1.2)
    assert done.code == 0
    with capsys.disabled():
        print(f"\n{stages}")
    assert len(stages) >= 3
