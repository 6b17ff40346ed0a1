"""Class raster on disk → GeoPackage on disk, beside `gdal_polygonize`; process start included on both sides.

    python tests/benchmarks/to_file.py [--size 8192] [--map noisy] [-- --simplify 20]

Whatever stands after `--` goes to `geoseg vectorize`. The map is one of `maps.py`; a small run first compiles the
kernels and is not timed. Floors: reading and writing alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from maps import MAPS, write_map

GEOSEG = [sys.executable, "-c", "from geoseg.cli import main; main(prog_name='geoseg')", "vectorize"]


_MEASURED = """
import json, os, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
seconds = time.perf_counter() - start
print(json.dumps([done.returncode, seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""


def timed(command: list[str]) -> tuple[float, int]:
    """Seconds, and the bytes of the largest resident size of it and its children.

    A small process starts it: a child of this one would inherit the size of all that the benchmark holds.
    """
    told = subprocess.run([sys.executable, "-c", _MEASURED, *command], check=True, stdout=subprocess.PIPE).stdout
    code, seconds, size = json.loads(told)
    if code:
        raise SystemExit(f"{command} failed")
    return seconds, size * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--map", choices=MAPS, default="noisy")
    parser.add_argument("flags", nargs="*")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        raster, warm = Path(folder) / "map.tif", Path(folder) / "warm.tif"
        write_map(raster, given.size, given.map)
        write_map(warm, 64, given.map)
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
