"""Is the cost a pixel flat? Class maps in memory of growing size → polygons as arrays, band by band.

    python tests/benchmarks/flat.py [--size 1024 --size 30000] [--map realistic]

Small maps are done several times. Where other work runs beside it, read the column of CPU seconds. The 30 000² map
itself takes 0.9 GB.
"""

from __future__ import annotations

import argparse
import resource
import time

from maps import MAPS, NODATA, whole_map
from vectorize import reader

from geoseg.polygons.coverage import coverage
from geoseg.polygons.survey import survey

_PIXELS = 1 << 26
"""Done at least, in as many repetitions as that takes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--map", choices=MAPS, default="realistic")
    given = parser.parse_args()
    rates = ["survey Mpx/s", "both passes Mpx/s", "Mpx/s of CPU"]
    columns = ["map", "size", "polygons", *rates, "open arcs MB", "peak MB"]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for size in [64, *(given.size or [1024, 4096, 16384, 30_000])]:
        codes = whole_map(size, given.map)
        read_rows, surveying, sweeping, n, held, times = reader(codes), 0.0, 0.0, 0, 0, max(1, _PIXELS // size**2)
        cpu = time.process_time()
        for _ in range(times if size > 64 else 1):
            start = time.perf_counter()
            found = survey(read_rows, codes.shape, nodata=NODATA, keep_runs=size**2 <= _PIXELS)
            half = time.perf_counter()
            n = 0
            for batch in coverage(read_rows, found):
                n, held = n + len(batch), max(held, batch.open_bytes)
            surveying, sweeping = surveying + half - start, sweeping + time.perf_counter() - half
        cpu = time.process_time() - cpu
        mpx = size**2 * times / 1e6
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if size > 64:  # that one compiles
            speeds = f"{mpx / surveying:.1f} | {mpx / (surveying + sweeping):.1f} | {mpx / cpu:.1f}"
            print(f"| {given.map} | {size}² | {n:,} | {speeds} | {held / 2**20:.0f} | {peak:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
