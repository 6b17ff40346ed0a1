"""Law 8 for `--update`: the finished output stays whole until the new one is complete; killed anywhere, it resumes.

Mutations that turn it red: a tile file kept before the finished run's pixels are in it (shown below); the old rasters
read after the new ones took their names.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path

import pytest
import rasterio
from cli_kit import geoseg, states
from resume_kit import FLAGS, RECORD, TILE, assert_same_answer, computed, tiles_in

from geoseg.io.record import verify_record
from geoseg.tiling.checkpoint import Checkpoints
from geoseg.tiling.result import TileResult

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture(scope="module")
def corrected(piece, tmp_path_factory) -> Path:
    """The piece with three corrected places, of the same name."""
    path = tmp_path_factory.mktemp("corrected") / piece.name
    shutil.copy(piece, path)
    with rasterio.open(path, "r+") as image:
        data = image.read()
        for row, col in ((10, 20), (70, 100), (130, 180)):
            data[:, row : row + 9, col : col + 9] = data[::-1, row : row + 9, col : col + 9]
        data[:, 40:44, 60:70] = 0 if image.nodata is None else image.nodata
        image.write(data)
    return path


@pytest.fixture(scope="module")
def update(corrected, model) -> tuple[object, ...]:
    return ("run", corrected, "-m", model, *FLAGS, *TILE, "--update", "-o")


@pytest.fixture(scope="module")
def full(corrected, model, tmp_path_factory) -> Path:
    """What a run gives that knows nothing."""
    out = tmp_path_factory.mktemp("full")
    assert geoseg("run", corrected, "-m", model, *FLAGS, *TILE, "-o", out).code == 0
    return out


@pytest.fixture
def out(undisturbed, tmp_path) -> Path:
    """The finished run of the piece as it was."""
    return Path(shutil.copytree(undisturbed, tmp_path / "out"))


def visible(out: Path) -> dict[str, tuple[int, int]]:
    return {name: state for name, state in states(out).items() if not name.startswith(".")}


DEATHS = ["tile:5", "publish:before-record"]
MORE = ["plan", "tile:1", "tile:before-rename:3", "cog:1", "vector:1", "publish:staged", "publish:record-removed"]
MORE += ["publish:between-renames:1", "publish:between-renames:5"]


@pytest.mark.parametrize("at", [*DEATHS, *(pytest.param(at, marks=pytest.mark.slow) for at in MORE)])
def test_killed_twice_and_resumed(forked, update, out, undisturbed, full, at) -> None:
    before = visible(out)
    for _ in range(2):
        assert forked.run(*update, out, failpoint=at).code == -signal.SIGKILL
        if at == "publish:staged" or not at.startswith("publish"):
            assert visible(out) == before
            assert verify_record(out / RECORD) == []
        else:
            assert not (out / RECORD).exists()
    ready = tiles_in(out)
    with computed() as counts:
        done = geoseg(*update, out)
    assert done.code == 0, done.err
    assert set(counts) & ready == set()
    assert_same_answer(out, full, but=["chips"])
    chips = [json.loads((folder / RECORD).read_text())["geoseg:summary"]["chips"] for folder in (out, full)]
    assert 0 < chips[0] < chips[1] / 2
    assert "up to date" in geoseg(*update, out).out


def test_a_run_that_overwrites_goes_on_with_the_tiles_of_an_update(forked, update, out, full) -> None:
    """Tile files hold all pixels of their tile: whoever finds them needs no finished run."""
    assert forked.run(*update, out, failpoint="tile:6").code == -signal.SIGKILL
    ready = tiles_in(out)
    assert ready
    plain = [part for part in update if part != "--update"]
    with computed() as counts:
        done = geoseg(*plain, out, "--overwrite")
    assert done.code == 0, done.err
    assert set(counts) & ready == set()
    assert_same_answer(out, full, but=["chips"])


def test_mutation_tiles_kept_before_they_are_complete_turn_it_red(update, out, full, monkeypatch) -> None:
    """Named mutation: a tile file holds what was predicted, not what the finished run adds to it."""
    incomplete: dict[int, TileResult] = {}
    complete, keep = TileResult.completed, Checkpoints.keep

    def remembering(self, finished):
        incomplete[self.number] = self
        return complete(self, finished)

    def keep_too_early(self, result):
        keep(self, incomplete[result.number])

    def die(*_args, **_more):
        raise KeyError("dead")

    with monkeypatch.context() as patch:
        patch.setattr(TileResult, "completed", remembering)
        patch.setattr(Checkpoints, "keep", keep_too_early)
        patch.setattr("geoseg.stories.rasters.write_class_cog", die)
        with pytest.raises(KeyError, match="dead"):
            geoseg(*update, out)
    assert len(tiles_in(out)) == len(incomplete)
    assert geoseg(*update, out).code == 0
    with pytest.raises(AssertionError):
        assert_same_answer(out, full, but=["chips"])
