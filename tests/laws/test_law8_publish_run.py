"""Law 8 for a whole `geoseg run`: stopped at any moment, its folder never lies and the next run succeeds.

Mutations that turn it red: outputs written under their final names; the record written before the files; the work
folder or the lock of a dead run taken for somebody's; signals that end the process without unwinding.
"""

from __future__ import annotations

import hashlib
import json
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_kit import cut, geoseg, names_in, polygons_in, states
from fork_kit import Running

from geoseg.io.record import verify_record

PATIENCE_S = 120
FLAGS = ("--confidence", "--format", "gpkg,geojson", "--tile", "24")
RECORD = "piece.json"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture(scope="module")
def piece(sample, tmp_path_factory) -> Path:
    return cut(sample, tmp_path_factory.mktemp("piece") / "piece.tif", width=300, height=280)


@pytest.fixture(scope="module")
def undisturbed(piece, model, tmp_path_factory) -> dict[str, str]:
    """What a run gives that nobody disturbs."""
    out = tmp_path_factory.mktemp("undisturbed")
    assert geoseg("run", piece, "-o", out, "-m", model, *FLAGS).code == 0
    return contents(out)


@pytest.fixture(scope="module")
def older(piece, model, tmp_path_factory) -> Path:
    """A finished output of other settings, to be replaced."""
    out = tmp_path_factory.mktemp("older")
    assert geoseg("run", piece, "-o", out, "-m", model, "--format", "fgb", "--margin", "8").code == 0
    return out


def contents(out: Path) -> dict[str, str]:
    """Visible file name → digest; of a GeoPackage, which holds the time of writing, that of its polygons."""
    digests = {}
    for path in out.glob("[!.]*"):
        if path.suffix == ".gpkg":
            data = polygons_in(path).to_wkb().to_csv().encode()
        elif path.name == RECORD:  # holds the time of processing; `verify_record` judges it
            data = b""
        else:
            data = path.read_bytes()
        digests[path.name] = hashlib.sha256(data).hexdigest()
    return digests


def started_anew(older: Path, tmp_path: Path) -> Path:
    """A folder that holds the older output."""
    out = tmp_path / "out"
    out.mkdir()
    for path in older.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    return out


def assert_honest(out: Path, *generations: dict[str, str]) -> None:
    """Every file is whole and of one generation; a record describes exactly the files beside it."""
    seen = contents(out)
    for name, digest in seen.items():
        assert digest in [files.get(name) for files in generations], name
    if RECORD in seen:
        assert verify_record(out / RECORD) == []
        assert seen.keys() in [files.keys() for files in generations]


def assert_the_next_run_succeeds(piece: Path, model: Path, out: Path, undisturbed: dict[str, str]) -> None:
    again = ["--overwrite"] if (out / RECORD).exists() else []
    done = geoseg("run", piece, "-o", out, "-m", model, *FLAGS, *again)
    assert done.code == 0, done.err
    assert contents(out) == undisturbed
    assert names_in(out) == undisturbed.keys()  # no lock, no work folder, nothing of the older output
    assert verify_record(out / RECORD) == []


Moment = Callable[[Running, Path], None]


def at_line(number: int) -> Moment:
    """When the run has written so many lines of progress."""

    def wait(run: Running, _out: Path) -> None:
        for _ in range(number):
            run.line()

    return wait


def at_file(pattern: str) -> Moment:
    """When a file appears in the work folder."""

    def wait(run: Running, out: Path) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not list(out.glob(f".piece.geoseg-*/{pattern}")) and run.process.is_alive():
            assert time.monotonic() < deadline
            run.process.join(0.001)

    return wait


MOMENTS = {
    "before the first tile": at_line(1),
    "between tiles": at_line(5),
    "class raster begun": at_file("staged/piece.classes.tif"),
    "confidence raster begun": at_file("staged/piece.confidence.tif"),
    "GeoPackage begun": at_file("staged/piece.polygons.gpkg"),
    "preview begun": at_file("staged/piece.preview.png"),
}


SLOW_MOMENTS = {"class raster begun", "preview begun"}  # each has a neighbor in the default run


@pytest.mark.parametrize(
    ("moment", "replaces"),
    [pytest.param(m, n % 2 == 1, marks=[pytest.mark.slow] * (m in SLOW_MOMENTS)) for n, m in enumerate(MOMENTS)],
)
def test_killed_at_a_moment(forked, piece, model, older, undisturbed, tmp_path, moment, replaces) -> None:
    """Every other time an older output stands there."""
    out = started_anew(older, tmp_path) if replaces else tmp_path / "out"
    past = contents(older) if replaces else {}
    run = forked.start("run", piece, "-o", out, "-m", model, *FLAGS, "--overwrite")
    MOMENTS[moment](run, out)
    run.signal(signal.SIGKILL)
    run.end()
    assert_honest(out, past, undisturbed)
    assert_the_next_run_succeeds(piece, model, out, undisturbed)


DEATHS = ["publish:staged", "publish:record-removed", "publish:between-renames:3", "publish:before-record"]
SLOW = {"publish:record-removed", "publish:before-record"}  # `tests/io/test_publish.py` has them without a run


@pytest.mark.parametrize("at", [pytest.param(at, marks=[pytest.mark.slow] * (at in SLOW)) for at in DEATHS])
def test_killed_while_publishing_over_an_older_output(forked, piece, model, older, undisturbed, tmp_path, at) -> None:
    out = started_anew(older, tmp_path)
    done = forked.run("run", piece, "-o", out, "-m", model, *FLAGS, "--overwrite", failpoint=at)
    assert done.code == -signal.SIGKILL
    assert_honest(out, contents(older), undisturbed)
    assert (out / RECORD).exists() == (at == "publish:staged")
    assert_the_next_run_succeeds(piece, model, out, undisturbed)


@pytest.fixture(scope="module")
def whole_s(forked, piece, model, tmp_path_factory) -> float:
    """Seconds of a run, here and now; of the second, as the first starts the server of processes."""
    for _ in range(2):
        begun = time.monotonic()
        assert forked.run("run", piece, "-o", tmp_path_factory.mktemp("clock"), "-m", model, *FLAGS).code == 0
    return time.monotonic() - begun


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_killed_at_random_over_an_older_output(
    forked, piece, model, older, undisturbed, whole_s, tmp_path, seed
) -> None:
    out = started_anew(older, tmp_path)
    run = forked.start("run", piece, "-o", out, "-m", model, *FLAGS, "--overwrite")
    run.process.join(whole_s * random.Random(seed).random())
    run.signal(signal.SIGKILL)
    run.end()
    assert_honest(out, contents(older), undisturbed)
    assert_the_next_run_succeeds(piece, model, out, undisturbed)


@pytest.mark.parametrize(
    ("number", "code", "moment", "workers"),
    [
        (signal.SIGTERM, 143, "between tiles", []),
        (signal.SIGINT, 130, "between tiles", []),
        (signal.SIGTERM, 143, "GeoPackage begun", []),
        pytest.param(signal.SIGTERM, 143, "between tiles", ["--workers", "1"], marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_asked_to_stop_the_old_output_stays_and_only_tiles_are_left(
    forked, piece, model, older, tmp_path, number, code, moment, workers
) -> None:
    """With SIGINT nothing was there before: then nothing is there afterwards."""
    out = tmp_path / "out" if number == signal.SIGINT else started_anew(older, tmp_path)
    before = states(out) if out.exists() else {}
    run = forked.start("run", piece, "-o", out, "-m", model, *FLAGS, *workers, "--overwrite")
    MOMENTS[moment](run, out)
    run.signal(number)
    done = run.end()
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    assert "again" in done.last
    left = states(out)
    (work,) = left.keys() - before.keys()
    assert left.pop(work)
    assert left == before
    assert names_in(out / work) == {"key.json", "tiles"}


def test_of_two_runs_at_once_one_works_and_the_other_is_told(forked, piece, model, undisturbed, tmp_path) -> None:
    out = tmp_path / "out"
    run = forked.start("run", piece, "-o", out, "-m", model, *FLAGS)
    at_line(3)(run, out)
    run.signal(signal.SIGSTOP)
    try:
        done = geoseg("run", piece, "-o", out, "-m", model, *FLAGS)
    finally:
        run.signal(signal.SIGCONT)
    assert (done.code, f"process {run.process.pid} " in done.last) == (73, True)
    assert run.end().code == 0
    assert contents(out) == undisturbed


def test_the_record_of_a_rerun_differs_only_in_its_time(piece, model, undisturbed, tmp_path) -> None:
    """`contents` leaves the record out; this is what it may leave out."""
    records = []
    for out in (tmp_path / "a", tmp_path / "b"):
        assert geoseg("run", piece, "-o", out, "-m", model, *FLAGS).code == 0
        records.append(json.loads((out / RECORD).read_text()))
    for record in records:
        record.pop("geoseg:seal")
        record["geoseg:call"].pop("written")
        for name in ("created", "processing:datetime", "end_datetime"):
            record["properties"].pop(name)
        gpkg = next(asset for asset in record["assets"].values() if asset["href"].endswith(".gpkg"))
        gpkg.pop("file:checksum")
        record["geoseg:files"] = [row for row in record.get("geoseg:files", []) if not row["name"].endswith(".gpkg")]
        record["properties"]["geoseg:files"] = []
    assert records[0] == records[1]
