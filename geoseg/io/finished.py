"""The rasters of a finished run, read back as the class map that they were written from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.arrays import ClassMap
from geoseg.classes import ClassScheme
from geoseg.errors import OutputError
from geoseg.grid import Window
from geoseg.io.recode import Recoding


@contextmanager
def opened_answer(
    classes: Path, scores: Mapping[str, Path], scheme: ClassScheme
) -> Iterator[Callable[[Window], ClassMap]]:
    """A function that gives the class map of a window, for one thread.

    Args:
        classes: class raster, codes of the scheme; nodata and any other value become its `no_index`.
        scores: score layer → its raster; probabilities have a band a class.
        scheme: classes.

    Raises:
        OutputError: a raster cannot be opened; the function raises it when a window cannot be read.
    """
    index_of = Recoding({code: i for i, code in enumerate(scheme.codes)}, scheme.no_index, scheme.index_dtype)
    with ExitStack() as stack:
        with _told(classes.parent):
            codes = stack.enter_context(rasterio.open(classes))
            layers = {name: stack.enter_context(rasterio.open(path)) for name, path in scores.items()}

        def read(window: Window) -> ClassMap:
            spot = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
            with _told(classes.parent):
                index = index_of(codes.read(1, window=spot))
                bands = {name: None if name == "probabilities" else 1 for name in layers}
                found = {name: layer.read(bands[name], window=spot) for name, layer in layers.items()}
            return ClassMap(index, window, found)

        yield read


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except RasterioError as error:
        raise OutputError(
            f"the finished rasters in {folder} cannot be read any more ({error.__cause__ or error}); "
            f"run again with --overwrite instead of --update."
        ) from error
