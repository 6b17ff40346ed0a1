"""`--simplify` beside `shapely.coverage_simplify` on the same coverage, and beside the time of tracing.

    python tests/benchmarks/simplify.py [--size 2048] [--map noisy] [--tolerance 2]

Geoseg's part is all that simplification adds to a run: marking vertices, finding lenses, dropping corners. Shapely gets
the polygons as they were traced and the same tolerance; both mean the side of a square of the smallest triangle's area.
"""

from __future__ import annotations

import argparse

import numpy as np
import shapely
from maps import MAPS, NODATA, seeded_map
from vectorize import ours, reader, simplified, stages, timed

from geoseg.polygons.survey import survey
from geoseg.polygons.trace import Traced, Tracer


def traced_parts(codes: np.ndarray) -> tuple[list[Traced], np.ndarray]:
    """The arcs in stretches of rows, and the last row of each component."""
    found = survey(reader(codes), codes.shape, nodata=NODATA, keep_runs=True)
    tracer = Tracer(codes.shape[1])
    parts = [tracer.trace(painted, first) for first, painted in found.painted_bands(reader(codes))]
    closing = np.full((2, codes.shape[1] + 2), -1, np.int32)
    *_, (_, last) = found.painted_bands(reader(codes))
    closing[0] = last[-1]
    return [*parts, tracer.trace(closing, codes.shape[0])], found.components.last_row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--map", choices=MAPS, action="append")
    parser.add_argument("--tolerance", type=float, default=2.0, help="in pixels")
    given = parser.parse_args()
    for name in given.map or ["noisy", "realistic"]:
        codes, times = seeded_map(given.size, *MAPS[name]), {}
        stages(seeded_map(64, *MAPS[name]), {})  # compiles
        stages(codes, times)
        for _ in range(3):
            parts, last_row = traced_parts(codes)
            simplified(parts, last_row, codes.shape, times, given.tolerance**2)
        polygons = ours(codes)
        with timed("shapely.coverage_simplify", times):
            theirs = shapely.coverage_simplify(polygons, given.tolerance)
        print(f"{name} {given.size}²: {shapely.get_num_coordinates(polygons).sum()} vertices, by shapely ", end="")
        print(f"{shapely.get_num_coordinates(theirs).sum()} are left")
        for stage in ("trace", "simplify", "shapely.coverage_simplify"):
            print(f"  {stage:26} {times[stage]:8.3f} s")
        print(f"  simplify / trace            {times['simplify'] / times['trace']:7.2f} ×")
        print(f"  shapely / simplify          {times['shapely.coverage_simplify'] / times['simplify']:7.1f} ×")


if __name__ == "__main__":
    main()
