"""The command line as tests call it, and a model and a scene that every one of its commands can take."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import rasterio
from affine import Affine
from builders import linear_model
from click.testing import CliRunner
from rasterio.windows import Window

from geoseg.classes import ClassScheme, LandClass
from geoseg.cli import main
from geoseg.interrupts import STOPS
from geoseg.model.spec import Band

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
CLASSES = ClassScheme(
    (
        LandClass(1, "water", (0, 100, 200)),
        LandClass(2, "trees", (0, 140, 60)),
        LandClass(3, "built", (200, 60, 40)),
        LandClass(7, "bare", (230, 200, 40)),
    )
)
WEIGHT = np.array([[0, 20, 0, -20, 0, 0], [0, 0, -20, 10, 0, 0], [0, 0, 0, -8, 10, 0], [-2, 0, 6, 0, 0, 0]], float)
BIAS = (0.0, -0.5, 0.0, 0.0)
FORMATS = ("gpkg", "shp", "fgb", "geojson", "parquet")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line on standard error: where an error is told."""
        return self.err.strip().splitlines()[-1]


def geoseg(*args: Any) -> Done:
    """Call a command inside this process; a bug's exception goes through."""
    with _signals_and_warnings():
        result = CliRunner().invoke(main, [str(a) for a in args], prog_name="geoseg", catch_exceptions=False)
    return Done(result.exit_code, result.stdout, result.stderr)


def command(*args: Any) -> list[str]:
    """A command for a process of its own."""
    return [sys.executable, "-c", "from geoseg.cli import main; main(prog_name='geoseg')", *(str(a) for a in args)]


def start(*args: Any, failpoint: str = "", **more: Any) -> subprocess.Popen[str]:
    """Start a command in a process of its own; progress and errors come through a pipe."""
    environment = os.environ | {"GEOSEG_FAILPOINT": failpoint}
    more = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE} | more
    return subprocess.Popen(command(*args), env=environment, text=True, **more)


_MEASURED = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
print(json.dumps([done.returncode, done.stderr, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""


def measured(*args: Any) -> tuple[Done, int]:
    """How a command ended, and the bytes of its largest resident size.

    A small process starts it: a child of this one would inherit the size of all that the tests hold.
    """
    call = [sys.executable, "-c", _MEASURED, *command(*args)]
    code, err, size = json.loads(subprocess.run(call, capture_output=True, text=True, check=True).stdout)
    return Done(code, "", err), size * (1 if sys.platform == "darwin" else 1024)


def reflectance_model(path: Path, **changes: Any) -> Path:
    """Four classes from six bands, pixel by pixel: green − nir is water, nir − red trees, …"""
    fields = {
        "unit": "reflectance",
        "gsd_m": (8.0, 30.0),
        "bands": tuple(Band(name=name, mean=0.0, std=1.0, plausible=(0.0, 1.6)) for name in BANDS),
        "classes": CLASSES,
    }
    return linear_model(path, WEIGHT[:, :, None, None], BIAS, **(fields | changes)).path


def cut(sample: Path, path: Path, *, col: int = 380, row: int = 420, width: int = 171, height: int = 150) -> Path:
    """A piece of the sample scene (coast: all four classes), with its tags, on its own grid."""
    window = Window(col, row, width, height)
    with rasterio.open(sample) as source:
        corner = source.transform @ Affine.translation(col, row)
        profile = source.profile | {"width": width, "height": height, "transform": corner}
        with rasterio.open(path, "w", **profile) as target:
            target.write(source.read(window=window))
            target.descriptions, target.scales, target.offsets = source.descriptions, source.scales, source.offsets
    return path


def codes_of(path: Path) -> np.ndarray:
    """(row, col) of a raster's first band."""
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def polygons_in(path: Path) -> gpd.GeoDataFrame:
    """Polygons of a file of any format, sorted by poly_id."""
    if path.suffix == ".parquet":
        table = gpd.read_parquet(path)
    else:
        table = gpd.read_file(path, layer=pyogrio.list_layers(path)[0, 0])
    return table.set_index("poly_id").sort_index()


def names_in(folder: Path) -> set[str]:
    """Every file of a folder, hidden ones too."""
    return {path.name for path in folder.iterdir()}


def states(folder: Path) -> dict[str, tuple[int, int]]:
    """File name → modification time and inode: whether anything was written anew."""
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.iterdir()}


@contextmanager
def _signals_and_warnings() -> Iterator[None]:
    """The door takes over signals and warnings of its process, which here is pytest's."""
    show, handlers = warnings.showwarning, {number: signal.getsignal(number) for number in STOPS}
    try:
        yield
    finally:
        warnings.showwarning = show
        for number, handler in handlers.items():
            signal.signal(number, handler)
