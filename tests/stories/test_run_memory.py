"""The bound of a run: what it counts, how a run is made to fit it, and that it is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from builders import NORTH_UP, unet_model
from cli_kit import codes_of, command, cut, geoseg, measured
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from geoseg.errors import MemoryLimitError
from geoseg.grid import Grid
from geoseg.settings import RunSettings
from geoseg.stories import run_cost
from geoseg.stories.prepare import prepare
from geoseg.stories.run_cost import Cost, Load, cost, fitted
from geoseg.tiling.crew import Crew
from geoseg.tiling.plan import TilePlan, plan_tiles

GB = 10**9


def plan_of(cells: int, *, chip: int = 256, side: int = 20_000, blend="trim") -> TilePlan:
    plan = plan_tiles(
        Grid(CRS.from_epsg(32618), NORTH_UP, side, side), chip=chip, margin=32, stride=32, tile=1, blend=blend
    )
    return replace(plan, cells_per_side=cells)


LOAD = Load(base=GB, forward=GB // 10, bands=4, item=2, planes=1, batch=4, classes=6, layers=1, index=1, averaged=False)
loads = st.builds(
    Load,
    base=st.integers(0, GB),
    forward=st.integers(0, GB),
    bands=st.integers(1, 20),
    item=st.sampled_from([1, 2, 4]),
    planes=st.integers(1, 20),
    batch=st.integers(1, 32),
    classes=st.integers(1, 300),
    layers=st.integers(0, 300),
    index=st.sampled_from([1, 2]),
    averaged=st.booleans(),
    workers=st.integers(0, 8),
    idle=st.booleans(),
    picture=st.integers(0, GB),
)
plans = st.builds(
    plan_of,
    st.integers(1, 12),
    chip=st.sampled_from([128, 256, 512]),
    side=st.integers(100, 5000),
    blend=st.sampled_from(["trim", "taper"]),
)
crews = st.builds(Crew, st.integers(1, 64), st.integers(1, 64))
MORE = ("threads", "waiting", "tile", "bands", "layers", "classes", "batch", "forward", "picture")


def grown(what: str, load: Load, plan: TilePlan, crew: Crew) -> tuple[Load, TilePlan, Crew]:
    """One more of something."""
    if what in {"threads", "waiting"}:
        return load, plan, replace(crew, **{what: getattr(crew, what) + 1})
    if what == "tile":
        return load, replace(plan, cells_per_side=plan.cells_per_side + 1), crew
    return replace(load, **{what: getattr(load, what) + 1}), plan, crew


def assert_monotone(what: str, load: Load, plan: TilePlan, crew: Crew) -> None:
    less, more = cost(load, plan, crew), cost(*grown(what, load, plan, crew))
    assert less.segment <= more.segment
    assert less.bound <= more.bound


@given(st.sampled_from(MORE), loads, plans, crews)
def test_more_never_takes_less(what, load, plan, crew) -> None:
    """Mutation: tiles divided by threads, see `test_mutation_tiles_shared_out`."""
    assert_monotone(what, load, plan, crew)


def test_mutation_tiles_shared_out(monkeypatch) -> None:
    """Named mutation: a tile's bytes are taken for those of all threads together."""
    right = cost

    def wrong(load: Load, plan: TilePlan, crew: Crew) -> Cost:
        return replace(right(load, plan, crew), tiles=load.of_tile(plan) // crew.threads)

    monkeypatch.setitem(globals(), "cost", wrong)
    with pytest.raises(AssertionError):
        assert_monotone("threads", replace(LOAD, forward=0), plan_of(150, chip=128), Crew(1, 1))


@given(loads, plans, crews)
def test_only_rows_make_a_larger_raster_cost_more(load, plan, crew) -> None:
    """Law 7; tiles that the raster fills."""
    grids = (Grid(plan.grid.crs, NORTH_UP, width, 8000) for width in (8000, 40_000))
    small, large = (cost(load, replace(plan, grid=grid, network_grid=grid), crew) for grid in grids)
    assert small == large


@given(loads, plans, crews, st.floats(0.05, 1.2), st.booleans())
def test_what_is_fitted_fits_or_nothing_does(load, plan, crew, share, keep) -> None:
    most = int(share * cost(load, plan, crew).segment)
    least = cost(load, plan if keep else replace(plan, cells_per_side=1), Crew(1, 1)).segment
    if most < least:
        with pytest.raises(MemoryLimitError) as caught:
            fitted(load, plan, crew, most, keep_tiles=keep)
        assert "\n" not in str(caught.value)
        return
    smaller, fewer = fitted(load, plan, crew, most, keep_tiles=keep)
    assert cost(load, smaller, fewer).segment <= most
    assert smaller == plan if keep else smaller.cells_per_side <= plan.cells_per_side
    # In this order: tiles, results that wait, threads.
    if fewer.waiting < crew.waiting and not keep:
        assert smaller.cells_per_side == 1
    if fewer.threads < crew.threads:
        assert fewer.waiting == 1


def test_room_for_all_changes_nothing() -> None:
    plan, crew = plan_of(8), Crew(16, 16)
    assert fitted(LOAD, plan, crew, 10**12, keep_tiles=False) == (plan, crew)


@pytest.mark.parametrize(
    ("load", "ways"),
    [
        (LOAD, "a single thread with tiles of 192 pixels may take 1.1"),
        (replace(LOAD, workers=3), "3 worker processes with tiles of 192 pixels may take 4."),
    ],
)
def test_too_little_names_the_need_the_limit_and_the_ways_out(load, ways) -> None:
    with pytest.raises(MemoryLimitError) as caught:
        fitted(load, plan_of(8), Crew(4, 4), GB // 2, keep_tiles=False)
    text = str(caught.value)
    assert text.startswith("0.50 GB of memory are allowed")
    assert ways in text
    assert "GB of it libraries, caches and model: give " in text
    assert ("fewer --workers" in text) == (load.workers > 1)
    assert text.endswith("a smaller --chip or more memory (--max-memory).")
    assert caught.value.exit_code == 69


def test_polygons_come_after_the_rest() -> None:
    parts = Cost(base=10, forwards=3, chips=2, tiles=1, rasters=4, polygons=5)
    assert (parts.segment, parts.bound) == (16, 16)
    assert replace(parts, polygons=9).bound == 19
    assert replace(parts, rasters=8).segment == 18


CALLS = [
    pytest.param(400, ["--chip", "256"], marks=pytest.mark.slow),
    pytest.param(1024, ["--chip", "512"], marks=pytest.mark.slow),
    pytest.param(
        1024,
        ["--chip", "256", "--probabilities", "--confidence", "--ambiguity", "--tile", "1024"],
        marks=pytest.mark.slow,
    ),
    pytest.param(
        400,
        ["--chip", "256", "--blend", "taper", "--tta", "flip", "--precision", "fp32", "--tile", "100"],
        marks=pytest.mark.slow,
    ),
]


def told(*call) -> dict:
    """What a dry run says in a process of its own, whose libraries are not those of the tests."""
    done = subprocess.run(command(*call, "--dry-run", "--json"), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
@pytest.mark.parametrize(("side", "flags"), CALLS)
def test_a_run_keeps_to_the_bound_of_its_dry_run(sample, tmp_path, side, flags) -> None:
    scene = cut(sample, tmp_path / "scene.tif", col=0, row=0, width=side, height=side)
    call = ["segment", scene, "-o", tmp_path / "out.tif", *flags]
    plan = told(*call)
    done, peak = measured(*call)
    assert done.code == 0, done.err
    assert plan["memory_bytes"] / 1.6 < peak <= plan["memory_bytes"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
def test_another_network_and_polygons_keep_to_it(sample, tmp_path) -> None:
    model = unet_model(tmp_path / "m.safetensors", bands=6, chip=512, gsd_m=(8.0, 30.0)).path
    call = ["run", sample, "-o", tmp_path / "out", "-m", model, "--bands", "b1=1,b2=2,b3=3,b4=4,b5=5,b6=6"]
    plan = told(*call)
    done, peak = measured(*call)
    assert done.code == 0, done.err
    assert peak <= plan["memory_bytes"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
def test_less_memory_means_fewer_threads_and_the_same_bytes(sample, tmp_path) -> None:
    call = ["segment", sample, "--chip", "512", "--probabilities", "-o"]
    free = told(*call, tmp_path / "free.tif")
    if free["threads"] == 1:
        pytest.skip("there is one processor")
    base = free["memory_parts_bytes"]["base"]
    limit = base + int(0.6 * (free["memory_bytes"] - base))
    assert geoseg(*call, tmp_path / "free.tif").code == 0
    done, peak = measured(*call, tmp_path / "bound.tif", "--max-memory", f"{limit // 10**6}MB")
    assert done.code == 0, done.err
    assert f"to stay within {limit / 1e9:.2f} GB of memory" in done.err
    assert " chips at a time, to stay" in done.err
    assert peak <= limit
    assert (tmp_path / "bound.tif").read_bytes() == (tmp_path / "free.tif").read_bytes()


@pytest.mark.parametrize("what", ["run", "segment"])
def test_too_little_ends_with_69_in_one_line_and_nothing_written(piece, model, tmp_path, what) -> None:
    out = tmp_path / "out" / "x.tif" if what == "segment" else tmp_path / "out"
    for flags in (["--dry-run"], []):
        done = geoseg(what, piece, "-o", out, "-m", model, "--max-memory", "100MB", *flags)
        assert done.code == 69, done.err
        assert done.last.startswith("error: 0.10 GB of memory are allowed, but a single thread")
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


def test_smaller_tiles_come_first(sample, model, tmp_path, monkeypatch) -> None:
    """Of a job whose tiles are all it takes; the raster is the same."""
    whole = ["segment", sample, "-m", model, "--probabilities", "-o"]
    assert geoseg(*whole, tmp_path / "free.tif").code == 0
    monkeypatch.setattr(run_cost, "load_of", lambda *_: replace(LOAD, base=0, forward=0, layers=5))
    monkeypatch.setattr(run_cost, "RASTER_WORK", 0)
    done = geoseg(*whole, tmp_path / "bound.tif", "--max-memory", "6MB")
    assert done.code == 0, done.err
    assert "pixels, to stay within 0.01 GB of memory" in done.err
    assert "at a time" not in done.err
    assert (codes_of(tmp_path / "bound.tif") == codes_of(tmp_path / "free.tif")).all()


def test_a_run_that_goes_on_keeps_its_tiles(forked, piece, model, tmp_path, monkeypatch) -> None:
    call = ["segment", piece, "-o", tmp_path / "out.tif", "-m", model]
    assert forked.run(*call, "--tile", "64", failpoint="tile:2").code < 0
    ready = len(list(tmp_path.glob(".out*/tiles/*.tile")))
    assert ready >= 1
    monkeypatch.setattr(run_cost, "load_of", lambda *_: replace(LOAD, base=0, forward=GB))
    monkeypatch.setattr(run_cost, "full_crew", lambda _: Crew(3, 3))
    again = geoseg(*call, "--max-memory", "1.1GB")
    assert again.code == 0, again.err
    assert f"resumed: {ready} of 16 tiles were finished before" in again.err
    assert "1 instead of 3 chips at a time, to stay within 1.10 GB" in again.err
    assert "pixels, to stay" not in again.err


def test_kept_blocks_are_given_back_near_the_bound(piece, monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(run_cost, "give_back_freed_blocks", lambda: calls.append(1))
    monkeypatch.setattr(run_cost, "resident", lambda: 95)
    job = prepare([piece], RunSettings())
    for bound, count in ((None, 0), (1000, 0), (100, 1)):
        run_cost.keep_within(replace(job, bound=bound))
        assert len(calls) == count
