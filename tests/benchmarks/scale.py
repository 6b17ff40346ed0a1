"""`geoseg vectorize` at growing sizes: cost a pixel, and the peak of memory beside the bound that --dry-run prints.

    python tests/benchmarks/scale.py [--size 1024 --size 30000] [--map realistic] [--to DIR] [-- --simplify 10 --smooth]

Whatever stands after `--` goes to `geoseg vectorize`. The time of a map of 64² is that of starting: it is taken off
before pixels a second are counted. Noisy maps of 30 000² need 40 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

from maps import MAPS, write_map
from to_file import GEOSEG, timed


def bound(raster: Path, flags: list[str]) -> dict[str, int]:
    """What --dry-run says."""
    command = [*GEOSEG, str(raster), "-o", "unused.gpkg", "--dry-run", "--json", *flags]
    told: dict[str, int] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--map", choices=MAPS, action="append")
    parser.add_argument("--to", type=Path, help="folder for maps and results; removed afterwards")
    parser.add_argument("flags", nargs="*")
    given = parser.parse_args()
    print("| map | size | polygons (said) | s | start, s | Mpx/s | peak, MB | bound, MB | on disk, MB (said) |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in given.map or ["realistic"]:
        for size in given.size or [1024, 4096, 16384]:
            with tempfile.TemporaryDirectory(dir=given.to) as folder:
                print(row(Path(folder), name, size, given.flags), flush=True)


def row(folder: Path, name: str, size: int, flags: list[str]) -> str:
    """One line of the table."""
    raster, warm, result = folder / "map.tif", folder / "warm.tif", folder / "map.gpkg"
    write_map(raster, size, name)
    write_map(warm, 64, name)
    timed([*GEOSEG, str(warm), "-o", f"{folder}/first.gpkg", *flags])  # compiles
    start, _ = timed([*GEOSEG, str(warm), "-o", f"{folder}/warm.gpkg", *flags])
    told = bound(raster, flags)
    seconds, peak = timed([*GEOSEG, str(raster), "-o", str(result), *flags])
    n = json.loads(result.with_name("map.gpkg.json").read_text())["geoseg:summary"]["n_polygons"]
    rate = size**2 / 1e6 / (seconds - start)
    sizes = f"{peak / 2**20:,.0f} | {told['vector_memory_bytes'] / 2**20:,.0f}"
    disk = f"{result.stat().st_size / 2**20:,.0f} ({told['disk_bytes'] / 2**20:,.0f})"
    polygons = f"{n:,} ({told['polygons']:,})"
    return f"| {name} | {size}² | {polygons} | {seconds:.1f} | {start:.1f} | {rate:.1f} | {sizes} | {disk} |"


if __name__ == "__main__":
    main()
