"""The parts of `engine.py`, each run in a process of its own: options as JSON in, figures as JSON out."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import rasterio.features
import shapely.geometry
import torch
from rasterio.windows import Window as RasterioWindow
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GridGeoSampler

import geoseg
from geoseg.io.limits import block_cache_mb, cpu_count
from geoseg.io.read import read_chip
from geoseg.model import predictor
from geoseg.model.blocks import share_one_arena
from geoseg.model.build import build
from geoseg.model.device import resolve
from geoseg.model.file import load_tensors
from geoseg.model.graph import Graph
from geoseg.model.normalize import normalize, reflectance
from geoseg.settings import PredictSettings, RunSettings
from geoseg.stories import rasters, run_polygons
from geoseg.stories import run as run_story
from geoseg.stories.prepare import Job, prepare
from geoseg.tiling.schedule import map_tiles
from geoseg.tiling.worker import TileJob

SIDE, BATCH = 512, 4
Options = dict[str, Any]
Figures = dict[str, float]


def settings_of(given: Options) -> RunSettings:
    wanted = {name: given[name] for name in ("model", "device", "backend", "precision")}
    return RunSettings(predict=PredictSettings(**wanted))


def job_of(given: Options) -> Job:
    return prepare([given["raster"]], settings_of(given))


def network_of(job: Job) -> torch.nn.Module:
    network = build(job.model.spec)
    network.load_state_dict(load_tensors(job.model.path))
    return network.eval()


def synchronized(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def bare(given: Options, seconds: float = 12.0) -> Figures:
    """As many forward passes as fit into the time, on data that never move."""
    job, device = job_of(given), given["device"]
    precision = resolve(settings_of(given).predict, job.model.spec).precision
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    network = network_of(job).to(device).to(memory_format=torch.channels_last)
    data = torch.randn(BATCH, len(job.model.spec.bands), SIDE, SIDE, device=device)
    data = data.contiguous(memory_format=torch.channels_last)
    torch.set_num_threads(cpu_count())
    with torch.inference_mode(), torch.autocast(device, kind, enabled=kind is not None):
        network(data)
        start, cpu, passes = synchronized(device), time.process_time(), 0
        while time.perf_counter() - start < seconds:
            network(data)
            passes += 1
        elapsed = synchronized(device) - start
        cpu = time.process_time() - cpu
    mpx = passes * BATCH * SIDE**2 / 1e6
    return {"mpx_s": mpx / elapsed, "mpx_cpu_s": mpx / cpu}


def read(given: Options) -> Figures:
    """All chips as `run` reads them, and the floor."""
    job = job_of(given)
    start = time.perf_counter()
    for _ in map_tiles(lambda tile: [read_chip(job.scene, cell.read).window.size for cell in tile.cells], job.plan):
        pass
    chips = time.perf_counter() - start
    own = threading.local()

    def decode(window: RasterioWindow) -> None:
        if not hasattr(own, "dataset"):
            own.dataset = rasterio.open(given["raster"])
        own.dataset.read(window=window)

    with rasterio.open(given["raster"]) as dataset:
        windows = [window for _, window in dataset.block_windows(1)]
    start = time.perf_counter()
    with ThreadPoolExecutor(cpu_count()) as pool:
        list(pool.map(decode, windows))
    floor = time.perf_counter() - start
    return {"chips_s": chips, "floor_s": floor, "mpx_s": job.plan.grid.window.size / chips / 1e6}


class Clock:
    """Seconds by name, over all threads: on the wall, and of processors while the function ran."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    @contextmanager
    def timing(self, name: str, *, own: bool) -> Iterator[None]:
        processor = time.thread_time if own else time.process_time
        start, cpu = time.perf_counter(), processor()
        yield
        with self._lock:
            self.seconds[name] += time.perf_counter() - start
            self.cpu[name] += processor() - cpu

    def watch(self, owner: Any, function: str, name: str, *, own: bool = False) -> None:
        """Count the time in a function of a module or class; own: of the calling thread alone."""
        inner = getattr(owner, function)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.timing(name, own=own):
                return inner(*args, **kwargs)

        setattr(owner, function, timed)


class DeviceClock:
    """Seconds in forward passes on a GPU, by its own clock."""

    def __init__(self) -> None:
        self.events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        inner = Graph.forward

        def timed(graph: Graph, *args: Any) -> Any:
            pair = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            pair[0].record()
            answer = inner(graph, *args)
            pair[1].record()
            self.events.append(pair)
            return answer

        Graph.forward = timed  # type: ignore[method-assign]

    @property
    def seconds(self) -> float:
        torch.cuda.synchronize()
        return sum(first.elapsed_time(last) for first, last in self.events) / 1e3


def run(given: Options) -> Figures:
    """The whole command and its stages."""
    job, clock, gpu = job_of(given), Clock(), given["device"].startswith("cuda")
    device = DeviceClock() if gpu else None
    if not gpu:
        clock.watch(Graph, "forward", "forward", own=True)
        clock.watch(predictor, "reduce", "forward", own=True)
    clock.watch(TileJob, "warm_up", "load")
    clock.watch(rasters, "_predict", "predict")
    clock.watch(rasters, "write_class_cog", "cog")
    clock.watch(run_story, "vectorized", "vectorize")
    clock.watch(run_polygons, "write_polygons", "write")
    clock.watch(run_polygons, "_write_pages", "preview")
    out = Path(given["folder"]) / "out"
    shutil.rmtree(out, ignore_errors=True)  # tiles of a benchmark that was stopped would be gone on with
    start, cpu = time.perf_counter(), time.process_time()
    result = geoseg.run(given["raster"], out, settings_of(given))
    wall, cpu, spent = time.perf_counter() - start, time.process_time() - cpu, clock.seconds
    shutil.rmtree(out)
    segment = spent["predict"] - spent["load"]
    forward, slots = (device.seconds, 1) if device else (spent["forward"], cpu_count())
    mpx = job.plan.grid.window.size / 1e6
    return {
        "mpx_s": mpx / wall,
        "mpx_cpu_s": mpx / cpu,
        "busy": forward / (segment * slots),
        "busy_cpu": clock.cpu["forward"] / (clock.cpu["predict"] - clock.cpu["load"]),
        "halo": job.plan.halo_factor,
        "run_s": wall,
        "load_s": spent["load"],
        "segment_s": segment,
        "forward_s": forward / slots,
        "cog_s": spent["cog"],
        "vectorize_s": spent["vectorize"],
        "write_polygons_s": spent["write"],
        "preview_s": spent["preview"],
        "rest_s": wall - spent["predict"] - spent["vectorize"],
        "polygons": result.n_polygons,
        "mpx": mpx,
    }


def as_input(job: Job, stored: Any) -> torch.Tensor:
    """Normalized (batch, band, row, col) of the model's bands."""
    bands = [band for name in job.scene.names for band in job.model.spec.bands if band.name == name]
    values = [normalize(reflectance(image, job.scene.scale, job.scene.offset), bands) for image in stored]
    return torch.from_numpy(np.stack(values))


def naive(given: Options) -> Figures:
    """What a script would do first."""
    job, device = job_of(given), given["device"]
    network, grid = network_of(job).to(device), job.plan.grid
    index = np.zeros((grid.height, grid.width), np.uint8)
    windows = [w for w in grid.window.split(SIDE) if w.shape == (SIDE, SIDE)]
    numbers = [band.index for band in job.scene.bands]
    start, cpu = time.perf_counter(), time.process_time()
    with rasterio.open(given["raster"]) as dataset, torch.inference_mode():
        for first in range(0, len(windows), BATCH):
            batch = windows[first : first + BATCH]
            stored = [dataset.read(numbers, window=RasterioWindow(w.col_off, w.row_off, SIDE, SIDE)) for w in batch]
            found = network(as_input(job, stored).to(device)).softmax(dim=1).argmax(dim=1).cpu().numpy()
            for window, classes in zip(batch, found, strict=True):
                index[window.slices] = classes
    mpx = len(windows) * SIDE**2 / 1e6
    return {"mpx_s": mpx / (time.perf_counter() - start), "mpx_cpu_s": mpx / (time.process_time() - cpu)}


def plain(given: Options) -> Figures:
    """TorchGeo's own parts, trimmed by the model's margin, to polygons."""
    job, device = job_of(given), given["device"]
    network, grid, margin = network_of(job).to(device), job.plan.grid, job.plan.margin
    start, cpu = time.perf_counter(), time.process_time()
    dataset = RasterDataset(given["raster"])
    sampler = GridGeoSampler(dataset, size=SIDE, stride=SIDE - 2 * margin)
    loader = DataLoader(dataset, batch_size=BATCH, sampler=sampler, collate_fn=stack_samples, num_workers=0)
    index = np.full((grid.height, grid.width), 255, np.uint8)
    inner = slice(margin, SIDE - margin)
    with torch.inference_mode():
        for sample in loader:
            found = (
                network(as_input(job, sample["image"].numpy()).to(device)).softmax(dim=1).argmax(dim=1).cpu().numpy()
            )
            for (x, y, _), classes in zip(sample["bounds"], found[:, inner, inner], strict=True):
                col, row = ~grid.transform @ (x.start, y.stop)
                top, left = round(row) + margin, round(col) + margin
                part = index[top : top + len(classes), left : left + len(classes)]
                part[...] = classes[: part.shape[0], : part.shape[1]]
    segmented = time.perf_counter() - start
    polygons = rasterio.features.shapes(index, mask=index != 255, transform=grid.transform)
    geometry, codes = zip(*((shapely.geometry.shape(shape), int(code)) for shape, code in polygons), strict=True)
    table = gpd.GeoDataFrame({"class_id": codes}, geometry=list(geometry), crs=grid.crs)
    table.to_file(Path(given["folder"]) / "plain.gpkg")
    wall, mpx, cpu = time.perf_counter() - start, index.size / 1e6, time.process_time() - cpu
    return {"mpx_s": mpx / wall, "mpx_cpu_s": mpx / cpu, "segment_s": segmented, "polygons_s": wall - segmented}


PARTS: dict[str, Callable[[Options], Figures]] = {
    part.__name__: part
    for part in (bare, read, run, naive, plain)  # type: ignore[attr-defined]
}

if __name__ == "__main__":
    # As the command line does.
    os.environ.setdefault("GDAL_CACHEMAX", str(block_cache_mb()))
    share_one_arena()
    options = json.loads(sys.argv[1])
    print(json.dumps(PARTS[options["name"]](options)))
