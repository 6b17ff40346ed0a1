"""`geoseg vectorize --dry-run` and `--max-memory`: what polygons will take, and what happens where it is too much."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from builders import write_raster
from cli_kit import geoseg, measured, names_in
from scipy.ndimage import gaussian_filter, label

from geoseg.grid import Grid, Window
from geoseg.polygons.density import Density
from geoseg.settings import VectorSettings
from geoseg.stories.vector_cost import map_memory, sample_windows


def noise(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, (side, side)).astype("uint8")


def blobs(side: int) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(0).standard_normal((side, side)), 4)
    return np.digitize(field, np.quantile(field, [0.2, 0.6])).astype("uint8")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "map.tif", noise(300))


def test_a_dry_run_tells_and_does_nothing(small: Path) -> None:
    before = names_in(small.parent)
    done = geoseg("vectorize", small, "-o", small.with_suffix(".gpkg"), "--dry-run", "--json")
    assert (done.code, done.err) == (0, "")
    told = json.loads(done.out)
    n = sum(label(noise(300) == code)[1] for code in range(3))
    assert (told["polygons"], told["seen_px"], told["classes"], told["fits"]) == (n, 300 * 300, 3, True)
    assert 2**28 < told["vector_memory_bytes"] < 2**31
    text = geoseg("vectorize", small, "-o", small.with_suffix(".gpkg"), "--dry-run").out
    assert f"up to {n:,}, judged by 100% of the pixels" in text
    assert names_in(small.parent) == before


def test_a_dry_run_says_what_would_not_fit_or_not_start(small: Path) -> None:
    call = ["vectorize", small, "-o", small.with_suffix(".gpkg"), "--dry-run"]
    assert "memory may not suffice; --max-vertices" in geoseg(*call, "--max-memory", "100MB").out
    assert geoseg(*call, "--skip-classes", "lava").code == 2
    assert geoseg(*call, "--keep-class", "1").code == 2
    assert geoseg(*call, "--max-memory", "lots").code == 2


@pytest.mark.parametrize("flags", [[], ["--dissolve"], ["--simplify", "20", "--smooth"], ["--max-vertices", "100"]])
def test_too_little_memory_ends_with_69_and_nothing_written(small: Path, flags: list[str]) -> None:
    before = names_in(small.parent)
    done = geoseg("vectorize", small, "-o", small.with_suffix(".gpkg"), "--max-memory", "1MB", *flags)
    assert done.code == 69, done.err
    assert "allow more (--max-memory)" in done.last
    assert names_in(small.parent) == before


def test_enough_memory_changes_nothing(small: Path) -> None:
    outputs = [small.with_name(f"{name}.geojson") for name in ("free", "bound")]
    assert geoseg("vectorize", small, "-o", outputs[0]).code == 0
    assert geoseg("vectorize", small, "-o", outputs[1], "--max-memory", "16GB").code == 0
    one, other = (json.loads(path.read_text())["features"] for path in outputs)
    assert one == other
    again = geoseg("vectorize", small, "-o", outputs[1], "--max-memory", "15GB")
    assert "up to date" in again.out


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
@pytest.mark.parametrize(
    ("drawn", "flags"),
    [(noise, []), (noise, ["--mmu", "9px"]), (noise, ["--max-vertices", "100"]), (blobs, ["--simplify", "20"])],
)
def test_a_run_keeps_to_the_bound(tmp_path: Path, drawn, flags: list[str]) -> None:
    raster = write_raster(tmp_path / "map.tif", drawn(900))
    call = ["vectorize", raster, "-o", tmp_path / "map.gpkg", *flags]
    told = json.loads(geoseg(*call, "--dry-run", "--json").out)
    done, peak = measured(*call)
    assert done.code == 0, done.err
    assert peak <= told["vector_memory_bytes"]


def test_blocks_lie_evenly_and_cover_small_rasters(sample_grid: Grid) -> None:
    for side, n in ((1, 1), (2048, 1), (2049, 2), (4096, 2), (6144, 3), (30_000, 3)):
        windows = list(sample_windows(Grid(sample_grid.crs, sample_grid.transform, side, 1)))
        assert len(windows) == n
        assert windows[0].col_off == side - windows[-1].col_off - windows[-1].width
        seen = np.zeros(side, int)
        for window in windows:
            seen[window.slices[1]] += 1
        assert seen.max() == 1
        assert seen.sum() == min(side, n * 2048)


@pytest.fixture
def sample_grid(small: Path) -> Grid:
    from geoseg.io.class_raster import open_class_raster

    return open_class_raster(small).grid.crop(Window(0, 0, 10, 10))


def test_what_lasts_grows_with_the_raster_and_is_cut_by_max_vertices(sample_grid: Grid) -> None:
    forest = Density(1e-3, 1e-3, 0.04, 1e-3, 0.04)
    village = Density(1e-3, 1e-3, 0.04, 0, 0)

    def memory(side: int, dense: Density, **settings) -> int:
        grid = Grid(sample_grid.crs, sample_grid.transform, side, side)
        return map_memory(grid, dense, VectorSettings(**settings))

    assert memory(20_000, forest) > 4 * memory(20_000, village)
    assert memory(20_000, forest, max_vertices=1000) < memory(20_000, village) * 1.5
    assert memory(20_000, village, mmu="9px") > memory(20_000, village)
    assert memory(40_000, forest) > 3 * memory(20_000, forest)
