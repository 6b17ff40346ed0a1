"""Class rasters, geoseg's own and anyone else's: place, classes, codes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj.exceptions import CRSError
from rasterio._err import CPLE_BaseError  # rasterio.shutil lets GDAL's own errors through
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.classes import MAX_CODE, ClassScheme
from geoseg.errors import InputError
from geoseg.grid import Grid, Window
from geoseg.io.legend import Labels, read_labels, scheme_of
from geoseg.io.raster import check_budget, check_file, place
from geoseg.io.recode import Recoding
from geoseg.io.spool import row_bands
from geoseg.legend import Legend
from geoseg.lookup import mark

CLASSES_TAG = "GEOSEG_CLASSES"
"""Metadata item inside the TIFF that holds the class list as JSON, so that a renamed file keeps its names."""

MAX_UNNAMED = 1 << 22
"""More distinct values than this are measurements that happen to be whole numbers; a class takes some 400 bytes."""
_PLAIN = (np.uint8, np.uint16)
"""Types whose values all are codes or nodata."""


@dataclass(frozen=True)
class ClassRaster:
    """A class raster on disk; `read_codes` reads it."""

    path: Path
    grid: Grid
    scheme: ClassScheme
    """Its classes: the file's own, or those of a legend put onto it."""
    code_of: Mapping[int, int]
    """Stored value → code of the scheme; without a legend each value is its own code."""
    stored_nodata: float | None
    """The file's own nodata tag; codes that were read use `nodata` instead."""
    dtype: str
    """Stored type: uint8 … float64."""
    tags: dict[str, str]
    occurring: frozenset[int]
    """Codes of the scheme that some pixel has; others are only listed."""

    @property
    def nodata(self) -> int:
        """What `read_codes` puts where there is no class: the scheme's nodata, never a class."""
        return self.scheme.nodata

    @cached_property
    def recoding(self) -> Recoding:
        """Stored values → codes of the scheme; any other value → `nodata`."""
        return Recoding(self.code_of, self.nodata, self.scheme.dtype)


def open_class_raster(
    path: Path,
    *,
    assume_crs: str | None = None,
    legend: Legend | None = None,
    occurring: Collection[int] | None = None,
) -> ClassRaster:
    """Find out what a class raster holds. Reads all pixels once, in bands of bounded memory.

    The classes come from geoseg's tag, else from the attribute table, category names or numbered tags, with the
    palette's colors; values that occur without being listed there become `class 7`, so that no pixel is lost.

    Args:
        path: a raster with one band of whole numbers 0…2³¹ - 2 (also stored as float); 65535 is none in uint16.
        assume_crs: CRS for a file that carries none.
        legend: renames and merges the classes that occur; those that the file only lists need no place in it.
        occurring: the values in it, from whoever has just written it: then no pixel is read, and the file is trusted.

    Raises:
        InputMissingError: no such file, or no permission.
        InputError: not a raster, without a place, or its values are no class codes.
        ConfigError: the legend leaves a class out or takes one twice.
    """
    if occurring is None:
        check_file(str(path))
    with _opened(path) as dataset:
        _check_band(path, dataset)
        check_budget(str(path), dataset)
        grid, _ = place(str(path), dataset, assume_crs)
        nodata, tags = dataset.nodata, dataset.tags()
        values = _values_found(path, dataset, grid) if occurring is None else sorted(occurring)
        scheme = _scheme(path, dataset, values)
        code_of = {code: code for code in scheme.codes}
        if legend is not None:
            scheme, code_of = _translated(scheme, values, legend)
        found = frozenset(code_of[value] for value in values)
        return ClassRaster(path, grid, scheme, code_of, nodata, dataset.dtypes[0], tags, found)


def scene_name(raster: Path) -> str:
    """Name of the scene that a class raster was made from: `scene.classes.tif`, `scene.raw.tif` → `scene`."""
    return raster.stem.removesuffix(".classes").removesuffix(".raw")


def read_codes(raster: ClassRaster, window: Window | None = None) -> NDArray[Any]:
    """Codes (row, col) of a window (default: all), in the scheme's type.

    The scheme's nodata stands where the file has nodata, NaN, a mask, or a value that is not in the scheme. The
    file is opened for each call, so any thread may call.

    Raises:
        InputError: the file cannot be read (any more).
        ValueError: the window is not inside the raster.
    """
    window = window or raster.grid.window
    if window.intersection(raster.grid.window) != window:
        raise ValueError(f"{window} is not inside {raster.path} ({raster.grid.width} × {raster.grid.height}).")
    with _opened(raster.path) as dataset:
        return recoded(dataset, window, raster.recoding)


@contextmanager
def opened_rows(raster: ClassRaster) -> Iterator[Callable[[int, int], NDArray[Any]]]:
    """A function that gives codes (row, col) of rows first … last - 1 like `read_codes`, from a file kept open.

    Blocks that two calls share stay in GDAL's cache. The function is for one thread.

    Raises:
        InputError: the file cannot be opened; the function raises it when rows cannot be read.
    """
    with ExitStack() as stack:
        with read_errors(raster.path):
            dataset = stack.enter_context(open_dataset(raster.path))

        def read_rows(first: int, last: int) -> NDArray[Any]:
            with read_errors(raster.path):
                return recoded(dataset, Window(0, first, raster.grid.width, last - first), raster.recoding)

        yield read_rows


def recoded(dataset: Any, window: Window, recoding: Recoding) -> NDArray[Any]:
    """What a recoding makes of the stored values (row, col) of an open raster's first band; `other` where invalid."""
    data, valid = _read(dataset, window)
    if data.dtype not in _PLAIN:
        whole = (data >= 0) & (data < MAX_CODE + 1) & (data == np.floor(data))
        values, data = data, np.full(data.shape, -1, np.int32)
        np.copyto(data, values, where=whole, casting="unsafe")
    codes = recoding(data)
    if valid is not None:
        codes[~valid] = recoding.other
    return codes


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with read_errors(path), open_dataset(path) as dataset:
        yield dataset


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """GDAL's errors as ours."""
    try:
        yield
    except (RasterioError, CPLE_BaseError, CRSError) as error:
        raise InputError(f"{path} cannot be read as a class raster: {error.__cause__ or error}") from error


def open_dataset(path: Path) -> Any:
    """A class raster for rasterio; one without a place does not warn."""
    # Threads are a matter of opening only.
    with warnings.catch_warnings(), rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS"):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path)


def _check_band(path: Path, dataset: Any) -> None:
    bands = [color for color in dataset.colorinterp if color != ColorInterp.alpha]
    if len(bands) != 1:
        raise InputError(
            f"{path} has {len(bands)} bands, a class raster has one; take it out with gdal_translate -b 1 "
            f"(a colored picture of a map no longer holds its codes)."
        )
    if dataset.dtypes[0].startswith("complex"):
        raise InputError(f"{path} holds complex numbers ({dataset.dtypes[0]}), no class codes.")


def _scheme(path: Path, dataset: Any, values: list[int]) -> ClassScheme:
    own = dataset.tags().get(CLASSES_TAG)
    if own is None:
        labels = read_labels(dataset)
        if dataset.nodata is not None:
            labels = Labels({c: n for c, n in labels.names.items() if c != dataset.nodata}, labels.colors)
        if not values and not labels.names:
            raise InputError(f"{path} holds no class: every pixel is nodata ({dataset.nodata}).")
        return scheme_of(values, labels)
    try:
        scheme = ClassScheme.from_json(json.loads(own))
        strange = sorted(set(values) - set(scheme.codes))
        return ClassScheme((*scheme.classes, *scheme_of(strange, Labels({}, {})).classes)) if strange else scheme
    except ValueError as error:
        raise InputError(f"{path} has a damaged {CLASSES_TAG} tag ({error}); remove it with gdal_edit.py.") from error


def _translated(scheme: ClassScheme, values: list[int], legend: Legend) -> tuple[ClassScheme, dict[int, int]]:
    """The classes after a legend, and the code of each value that occurs."""
    occurring = set(values)
    present = tuple(c for c in scheme.classes if c.code in occurring)
    if not present:
        return legend.scheme, {}
    merge = legend.onto(ClassScheme(present))
    outputs = [merge.scheme.codes[index] for index in merge.index_of]
    return merge.scheme, {c.code: code for c, code in zip(present, outputs, strict=True)}


def _values_found(path: Path, dataset: Any, grid: Grid) -> list[int]:
    """The distinct valid values of the first band, ascending.

    Raises:
        InputError: a value is no code, or there are more than any map has classes.
    """
    seen, large = np.zeros(1 << 16, np.bool_), np.zeros(0, np.int32)
    for window in row_bands(grid):
        data, valid = _read(dataset, window)
        values = data.ravel() if valid is None or valid.all() else data[valid]
        if values.size == 0:
            continue
        if values.dtype not in _PLAIN:
            values = _whole(path, values)
            # One of each run of equal neighbors is enough, and soon sorted.
            values = values[np.append(True, values[1:] != values[:-1])]
            large = np.union1d(large, values[values >= len(seen)])
            seen[values[values < len(seen)]] = True
        else:
            mark(values, seen)
        if len(large) > MAX_UNNAMED:
            raise InputError(
                f"{path} holds more than {MAX_UNNAMED} distinct values: measurements rather than classes; "
                f"classify them first (gdal_calc.py), or cut out a part (gdal_translate -projwin)."
            )
    if seen[-1] and dataset.dtypes[0] == "uint16":
        raise _outside(path, len(seen) - 1, len(seen) - 2)
    return [*np.flatnonzero(seen).tolist(), *large.tolist()]


def _whole(path: Path, values: NDArray[Any]) -> NDArray[np.int32]:
    """Values of any type as codes.

    Raises:
        InputError: fractions, negative or too large values.
    """
    for extreme in (values.min(), values.max()):
        if not 0 <= extreme < MAX_CODE + 1:
            raise _outside(path, extreme, MAX_CODE)
    codes = values.astype(np.int32)
    broken = codes != values
    if broken.any():
        raise InputError(
            f"{path} holds {values[broken][0]}, a measurement and no class code; "
            f"classify it first (gdal_calc.py), or name the class raster made from it."
        )
    return codes


def _outside(path: Path, value: Any, largest: int) -> InputError:
    return InputError(
        f"{path} holds the value {value}; class codes are 0…{largest}: declare it as nodata "
        f"(gdal_edit.py -a_nodata {value}) if it means that, else renumber it (gdal_calc.py)."
    )


def _read(dataset: Any, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Stored values and where they are valid (None: everywhere), both (row, col)."""
    box = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
    data = dataset.read(1, window=box)
    valid = None
    flags = dataset.mask_flag_enums[0]
    if flags == [MaskFlags.nodata] and data.dtype in _PLAIN and float(dataset.nodata).is_integer():
        valid = data != int(dataset.nodata)  # what GDAL's mask says, without reading everything again
    elif MaskFlags.all_valid not in flags:
        valid = dataset.read_masks(1, window=box) > 0
    if data.dtype.kind == "f":
        present = ~np.isnan(data)
        valid = present if valid is None else valid & present
    return data, valid
