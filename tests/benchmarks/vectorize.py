"""How fast class maps in memory become polygons, beside rasterio, xarray-spatial, and the floor of building geometries.

    python tests/benchmarks/vectorize.py [--size 4096] [--map noisy] [--map FILE.tif] [--repeat 3] [--alone]

The maps are those of `maps.py`. Every figure of one map comes from one run, the best of some repetitions, so read
ratios, not seconds.

Where the time goes: tracing is one sequential sweep on one core, labeling and painting run beside it on two
threads; building polygons (`rings`) and then GEOS geometries run beside the sweep of the next band. The floor of
geometries is `shapely.from_ragged_array` of the finished arrays, the collector of garbage paused on both sides; timed
in one piece, its first touch of so much memory can take longer than the same work in batches.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
import rasterio.features
import shapely
import shapely.geometry
from maps import MAPS, NODATA, seeded_map
from numpy.typing import NDArray

from geoseg.polygons.arcs import NOTHING
from geoseg.polygons.coverage import coverage, trace_array
from geoseg.polygons.label import label_runs, wanted_pixels
from geoseg.polygons.rings import ArcPool
from geoseg.polygons.simplify import Lenses, simplify_arcs
from geoseg.polygons.smooth import smooth_arcs
from geoseg.polygons.survey import survey
from geoseg.polygons.trace import Traced, Tracer
from geoseg.polygons.vertex_bits import VertexBits


@contextmanager
def timed(name: str, times: dict[str, float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    times[name] = min(times.get(name, np.inf), time.perf_counter() - start)


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
    simplified(traced, found.components.last_row, codes.shape, times)
    pool = ArcPool(found.components)
    with timed("pool", times):
        for part in traced:
            pool.add(part, part.arcs)
    with timed("rings", times):
        batch = pool.emit(np.arange(len(found.components)))
    with timed("floor: from_ragged_array", times):
        batch.geometry()


def simplified(
    traced: list[Traced],
    last_row: NDArray[np.int32],
    shape: tuple[int, int],
    times: dict[str, float],
    tolerance_px2: float = 4.0,
) -> None:
    """What `--simplify` and `--smooth` do to the arcs of each stretch of rows."""
    bits, lenses, shaped = VertexBits(*shape), Lenses(last_row), []
    with timed("simplify", times):
        for part in traced:
            bits.add(part.vertices)
            lenses.add(part.arcs)
            shaped.append(simplify_arcs(part.arcs, bits, lenses, tolerance_px2=tolerance_px2, outer=False))
    with timed("smooth", times):
        for arcs in shaped:
            smooth_arcs(arcs, bits, outer=False)


def reader(codes: NDArray[np.uint8]) -> Callable[[int, int], NDArray[np.uint8]]:
    return lambda first, last: codes[first:last]


def ours(codes: NDArray[np.uint8]) -> NDArray[np.object_]:
    """Geometries built band by band while the sweep goes on."""
    found = survey(reader(codes), codes.shape, nodata=NODATA, keep_runs=True)
    return np.concatenate([batch.geometry() for batch in coverage(reader(codes), found)])


def theirs(codes: NDArray[np.uint8]) -> list[shapely.Geometry]:
    found = rasterio.features.shapes(codes, mask=codes != NODATA, connectivity=4)
    return [shapely.geometry.shape(polygon) for polygon, _ in found]


def xarray_spatial() -> Callable[[NDArray[np.uint8]], NDArray[np.object_]] | None:
    """Its `polygonize`, then shapely's fastest way from coordinates to geometries; None: it is not installed."""
    try:
        xarray, home = importlib.import_module("xarray"), importlib.import_module("xrspatial.polygonize")
    except ModuleNotFoundError:
        try:
            home = importlib.import_module("xrspatial.experimental.polygonize")
        except ModuleNotFoundError:
            return None

    def polygons(codes: NDArray[np.uint8]) -> NDArray[np.object_]:
        _, found = home.polygonize(xarray.DataArray(codes), mask=xarray.DataArray(codes != NODATA), connectivity=4)
        rings = [ring for polygon in found for ring in polygon]
        ring_starts = np.cumsum([0, *map(len, rings)])
        polygon_starts = np.cumsum([0, *map(len, found)])
        offsets = (ring_starts, polygon_starts)
        return np.asarray(shapely.from_ragged_array(shapely.GeometryType.POLYGON, np.concatenate(rings), offsets))

    return polygons


def report(name: str, codes: NDArray[np.uint8], *, repeat: int, alone: bool) -> None:
    times: dict[str, float] = {}
    other = None if alone else xarray_spatial()
    if other is not None:
        other(codes[:64, :64])  # compiles
    for _ in range(repeat):
        stages(codes, times)
        with timed("arrays", times):
            batch = trace_array(codes, NODATA)
        with timed("geometries", times):
            geometry = ours(codes)
        assert len(geometry) == len(batch)
        del geometry
        if other is not None:
            with timed("xarray-spatial + shapely", times):
                found = other(codes)
            assert len(found) == len(batch)
            del found
    if not alone:
        with timed("rasterio + shapely", times):
            assert len(theirs(codes)) == len(batch)
    per_mpx = len(batch) / codes.size * 1e6
    print(f"\n{name}: {codes.shape[0]} × {codes.shape[1]}, {len(batch)} polygons ({per_mpx:.0f} a Mpx), ", end="")
    print(f"{len(batch.corners)} vertices; best of {repeat}")
    for stage, seconds in times.items():
        print(f"  {stage:26} {seconds:8.3f} s  {codes.size / seconds / 1e6:8.1f} Mpx/s")
    print_ratios(times)
    if not alone and other is None:
        print("  xarray-spatial is not installed: python -m pip install xarray-spatial")


def print_ratios(times: dict[str, float]) -> None:
    for one, two in (
        ("geometries", "floor: from_ragged_array"),
        ("rasterio + shapely", "geometries"),
        ("xarray-spatial + shapely", "geometries"),
        ("simplify", "trace"),
        ("smooth", "trace"),
    ):
        if one in times and two in times:
            print(f"  {f'{one} / {two}':50} {times[one] / times[two]:6.1f} ×")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096, help="rows and columns of the seeded maps")
    parser.add_argument("--map", action="append", help=f"{', '.join(MAPS)} or a class raster; default: all seeded")
    parser.add_argument("--repeat", type=int, default=3, help="times that each stage is timed, rasterio's but once")
    parser.add_argument("--alone", action="store_true", help="without the others, which take most of the time")
    options = parser.parse_args()
    report("warm", seeded_map(64, *MAPS["noisy"]), repeat=1, alone=True)  # compiles
    for name in options.map or MAPS:
        if name in MAPS:
            codes = seeded_map(options.size, *MAPS[name])
        else:
            with rasterio.open(name) as dataset:
                codes = dataset.read(1)
        report(Path(name).name, codes, repeat=options.repeat, alone=options.alone)


if __name__ == "__main__":
    main()
