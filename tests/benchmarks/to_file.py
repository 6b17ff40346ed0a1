"""Class raster on disk → GeoPackage on disk, beside `gdal_polygonize`; process start included on both sides.

    python tests/benchmarks/to_file.py [--size 8192] [--map noisy] [-- --simplify 20]

Whatever stands after `--` goes to `geoseg vectorize`. The map is that of `vectorize.py`; a small run first compiles the
kernels and is not timed. Floors: reading and writing alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from vectorize import MAPS, seeded_map

GEOSEG = [sys.executable, "-c", "from geoseg.cli import main; main(prog_name='geoseg')", "vectorize"]


def timed(command: list[str]) -> tuple[float, int]:
    """Seconds, and the largest resident size in bytes."""
    start = time.perf_counter()
    with Path(os.devnull).open("w") as nothing:
        process = subprocess.Popen(command, stdout=nothing)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} failed")
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--map", choices=MAPS, default="noisy")
    parser.add_argument("flags", nargs="*")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        raster = Path(folder) / "map.tif"
        codes = seeded_map(given.size, *MAPS[given.map])
        profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "compress": "deflate", "tiled": True}
        place = {"crs": "EPSG:32632", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}
        with rasterio.open(raster, "w", width=given.size, height=given.size, **profile, **place) as dataset:
            dataset.write(codes, 1)
        warm = Path(folder) / "warm.tif"
        with rasterio.open(warm, "w", width=64, height=64, **profile, **place) as dataset:
            dataset.write(np.ascontiguousarray(codes[:64, :64]), 1)
        timed([*GEOSEG, str(warm), "-o", f"{folder}/warm.gpkg", *given.flags])
        ours, size = timed([*GEOSEG, str(raster), "-o", f"{folder}/ours.gpkg", *given.flags])
        print(f"{given.map} {given.size}²: geoseg {ours:.1f} s, {size / 2**20:.0f} MB at its largest")
        tool = shutil.which("gdal_polygonize.py")
        if tool is None:
            print("gdal_polygonize.py is not installed")
            return
        theirs, size = timed([tool, "-q", str(raster), "-f", "GPKG", f"{folder}/theirs.gpkg"])
        print(f"gdal_polygonize {theirs:.1f} s, {size / 2**20:.0f} MB; geoseg is {theirs / ours:.1f} × as fast")


if __name__ == "__main__":
    main()
