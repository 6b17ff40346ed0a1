"""How fast class maps in memory become polygons, beside rasterio and the floor of building geometries.

    python tests/benchmarks/vectorize.py [--size 4096] [--map noisy] [--map FILE.tif] [--alone]

Every figure of one map comes from one run, so read ratios, not seconds. The maps are seeded: white noise, smoothed
by a Gaussian and cut into classes of equal area.

    smooth      sigma 16 px, 5 classes:      about 250 components a megapixel
    realistic   sigma 4.5 px, 5 classes:   about 4 000
    noisy       sigma 1.6 px, 3 classes:  about 30 000

Where the time goes: tracing is one sequential sweep on one core, labeling and painting run beside it on two
threads; building polygons (`rings`) and then GEOS geometries runs beside the sweep of the next band. The floor of
geometries is `shapely.from_ragged_array` of the finished arrays; timed in one piece, its first touch of so much memory
can take longer than the same work in batches.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
import rasterio.features
import scipy.ndimage  # type: ignore[import-untyped]
import shapely
import shapely.geometry
from numpy.typing import NDArray

from geoseg.polygons.arcs import NOTHING
from geoseg.polygons.coverage import coverage, trace_array
from geoseg.polygons.label import label_runs, wanted_pixels
from geoseg.polygons.rings import ArcPool
from geoseg.polygons.survey import survey
from geoseg.polygons.trace import Tracer

NODATA = 255
MAPS = {"smooth": (16.0, 5), "realistic": (4.5, 5), "noisy": (1.6, 3)}


def seeded_map(size: int, sigma: float, classes: int, seed: int = 0) -> NDArray[np.uint8]:
    """(row, col) codes 0 … classes - 1 of equal shares."""
    noise = np.random.default_rng(seed).standard_normal((size, size), np.float32)
    field = scipy.ndimage.gaussian_filter(noise, sigma, mode="wrap")
    limits = np.quantile(field[:: max(1, size // 512)], np.arange(1, classes) / classes)
    codes: NDArray[np.uint8] = np.digitize(field, limits).astype(np.uint8)
    return codes


@contextmanager
def timed(name: str, times: dict[str, float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    times[name] = time.perf_counter() - start


def stages(codes: NDArray[np.uint8], times: dict[str, float]) -> None:
    """Each stage alone, one after the other on one thread (labeling on two)."""
    height, width = codes.shape
    with timed("label runs, one thread", times):
        label_runs(codes, wanted_pixels(codes, NODATA))
    with timed("survey", times):
        found = survey(reader(codes), codes.shape, nodata=NODATA, keep_runs=True)
    with timed("paint", times):
        bands = list(found.painted_bands(reader(codes)))
    tracer, traced = Tracer(width), []
    with timed("trace", times):
        for first, painted in bands:
            traced += [tracer.trace(painted[row : row + 65], first + row) for row in range(0, len(painted) - 1, 64)]
        traced.append(tracer.trace(np.stack([bands[-1][1][-1], np.full(width + 2, NOTHING, np.int32)]), height))
    pool = ArcPool(found.components)
    with timed("pool", times):
        for part in traced:
            pool.add(part, part.arcs)
    with timed("rings", times):
        batch = pool.emit(np.arange(len(found.components)))
    with timed("floor: from_ragged_array", times):
        batch.geometry()


def reader(codes: NDArray[np.uint8]) -> Callable[[int, int], NDArray[np.uint8]]:
    return lambda first, last: codes[first:last]


def ours(codes: NDArray[np.uint8]) -> NDArray[np.object_]:
    """Geometries built band by band while the sweep goes on."""
    found = survey(reader(codes), codes.shape, nodata=NODATA, keep_runs=True)
    return np.concatenate([batch.geometry() for batch in coverage(reader(codes), found)])


def theirs(codes: NDArray[np.uint8]) -> list[shapely.Geometry]:
    found = rasterio.features.shapes(codes, mask=codes != NODATA, connectivity=4)
    return [shapely.geometry.shape(polygon) for polygon, _ in found]


def report(name: str, codes: NDArray[np.uint8], *, alone: bool) -> None:
    times: dict[str, float] = {}
    stages(codes, times)
    with timed("arrays", times):
        batch = trace_array(codes, NODATA)
    with timed("geometries", times):
        geometry = ours(codes)
    assert len(geometry) == len(batch)
    if not alone:
        with timed("rasterio + shapely", times):
            assert len(theirs(codes)) == len(batch)
    per_mpx = len(batch) / codes.size * 1e6
    print(f"\n{name}: {codes.shape[0]} × {codes.shape[1]}, {len(batch)} polygons ({per_mpx:.0f} a Mpx), ", end="")
    print(f"{len(batch.corners)} vertices")
    for stage, seconds in times.items():
        print(f"  {stage:26} {seconds:8.3f} s  {codes.size / seconds / 1e6:8.1f} Mpx/s")
    print(f"  geometries / floor                  {times['geometries'] / times['floor: from_ragged_array']:8.1f} ×")
    if not alone:
        print(f"  rasterio + shapely / geometries     {times['rasterio + shapely'] / times['geometries']:8.1f} ×")
        print(f"  rasterio + shapely / arrays         {times['rasterio + shapely'] / times['arrays']:8.1f} ×")


def main() -> None:
    parser = argparse.ArgumentParser(description="Class map in memory to polygons: stages, floor, rasterio beside it.")
    parser.add_argument("--size", type=int, default=4096, help="rows and columns of the seeded maps")
    parser.add_argument("--map", action="append", help=f"{', '.join(MAPS)} or a class raster; default: all seeded")
    parser.add_argument("--alone", action="store_true", help="without rasterio, which takes most of the time")
    options = parser.parse_args()
    trace_array(seeded_map(64, *MAPS["noisy"]), NODATA)  # compiles
    for name in options.map or MAPS:
        if name in MAPS:
            codes = seeded_map(options.size, *MAPS[name])
        else:
            with rasterio.open(name) as dataset:
                codes = dataset.read(1)
        report(Path(name).name, codes, alone=options.alone)


if __name__ == "__main__":
    main()
