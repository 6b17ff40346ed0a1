"""This process as a place where tiles are computed: what it can see, what machine it is, the model it has loaded."""

from __future__ import annotations

import os
import platform
import threading
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from geoseg.errors import DeviceError, InputError
from geoseg.io.handles import dataset_for
from geoseg.model.device import machine_key, resolve
from geoseg.model.predictor import Predictor
from geoseg.settings import PredictSettings

if TYPE_CHECKING:
    from geoseg.tiling.plan import Tile
    from geoseg.tiling.worker import TileJob

_loaded: dict[tuple[object, ...], Predictor] = {}
_loading = threading.Lock()


def process_name() -> str:
    """A name for this process among those of all machines."""
    return f"{platform.node()}:{os.getpid()}"


def predictor_for(job: TileJob) -> Predictor:
    """One predictor per process, model and device; loaded by the first tile that needs it.

    Raises:
        DeviceError: the model cannot be read here, or this process would compute other bytes than the run's key says.
    """
    key = (job.model.sha256, job.scene.names, job.resolved, job.machine)
    with _loading:
        if key not in _loaded:
            _check_machine(job)
            _loaded.clear()  # one model at a time: the next scene's may need the device's memory
            _loaded[key] = Predictor.load(job.model, job.scene.names, job.resolved)
        return _loaded[key]


def check_inputs(job: TileJob, tile: Tile) -> None:
    """Tell an input that this process cannot see from one that is damaged; open handles are kept.

    Args:
        job: of which the tile is a part.
        tile: of a mosaic only the scenes below its core are asked for, or a worker would open thousands for each.

    Raises:
        DeviceError: an input cannot be opened here.
    """
    if job.home == process_name():
        return
    mosaic = job.scene.mosaic
    scenes = [job.scene] if mosaic is None else [part.scene for part, _ in mosaic.under(tile.core.pad(job.plan.chip))]
    for band, grid in {band.path: (band, scene.grid) for scene in scenes for band in scene.bands}.values():
        try:
            dataset_for(band, grid)
        except InputError as error:
            raise DeviceError(
                f"worker {process_name()} cannot open input {band.path}; put it where every worker can read it."
            ) from error


def _check_machine(job: TileJob) -> None:
    """Refuse to compute other bytes than the key of the run promises.

    Raises:
        DeviceError: the device is not here, or this is another kind of machine or software.
    """
    if job.home == process_name():
        return
    asked = job.resolved
    wish = asdict(asked)
    if asked.backend == "onnx":  # not for users to choose: the model's file says so
        wish["backend"] = "auto"
    try:
        resolve(replace(PredictSettings(), **wish), job.model.spec)
    except DeviceError as error:
        raise DeviceError(f"worker {process_name()}: {error}") from error
    here, there = machine_key(asked), dict(job.machine)
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            raise DeviceError(
                f"worker {process_name()} has {name} {here.get(name, 'none')}, "
                f"this run needs {there.get(name, 'none')} (the bytes would differ); use workers like this machine."
            )
