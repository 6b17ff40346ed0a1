"""Threads may ask for the area of interest at the same time; in a process of its own, since the failure is a crash."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np, shapely
from affine import Affine
from pyproj import CRS
from geoseg.grid import Grid, Window
from geoseg.io.read import touches_aoi
from geoseg.io.scene import BandSource, Scene, Validity

grid = Grid(CRS(32618), Affine(10, 0, 500_000, 0, -10, 4_200_000), 400, 400)
windows = list(grid.window.split(16))
for turn in range(20):
    places = np.random.default_rng(turn).uniform(0, 4000, (60, 2))
    area = shapely.union_all([shapely.Point(500_000 + x, 4_200_000 - y).buffer(150) for x, y in places])
    scene = Scene((BandSource("a", "a.tif", 1, "uint8", Validity()),), grid, "none", aoi_wkb=area.wkb)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: [touches_aoi(scene, window) for window in windows], range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert 0 < sum(answers[0]) < len(windows)
"""


def test_one_area_and_many_threads() -> None:
    """Mutation that turns it red: one prepared geometry for all threads (seen to crash in each of six trials)."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
