"""A product's files as any other raster files: facts from the file, names and numbers from the product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from geoseg.errors import InputError
from geoseg.io.raster import RasterFile, describe
from geoseg.products.product import Product, ProductBand


def dressed(product: Product, assume_crs: str | None = None) -> tuple[RasterFile, ...]:
    """Describe the files of a product, each once, and give their bands its names, scales and fill value.

    Raises:
        InputMissingError, InputError: see `geoseg.io.raster.describe`.
    """
    by_path: dict[str, list[ProductBand]] = {}
    for band in product.bands:
        by_path.setdefault(band.path, []).append(band)
    return tuple(_dress(_described(path, assume_crs), bands) for path, bands in by_path.items())


def _described(path: str, assume_crs: str | None) -> RasterFile:
    try:
        return describe(path, assume_crs=assume_crs)
    except InputError as error:
        if path.startswith("/vsi"):
            raise InputError(f"{error} If the archive is damaged, download it again.") from error
        raise


def _dress(file: RasterFile, bands: Sequence[ProductBand]) -> RasterFile:
    names, scales, offsets = list(file.descriptions), list(file.scales), list(file.offsets)
    for band in bands:
        names[band.index - 1] = band.name
        if band.scale is not None and band.offset is not None:
            scales[band.index - 1], offsets[band.index - 1] = band.scale, band.offset
    fill = next((band.nodata for band in bands if band.nodata is not None), file.nodata)
    return replace(file, descriptions=tuple(names), scales=tuple(scales), offsets=tuple(offsets), nodata=fill)


def requests_of(product: Product | None, requests: Sequence[str]) -> tuple[str, ...]:
    """`--bands` requests in which a product's own band names stand for their files: `nir=B8A`."""
    if product is None:
        return tuple(requests)
    places = {band.id.lower(): f"{band.path}:{band.index}" for band in product.bands}
    split = (request.partition("=") for request in requests)
    return tuple(f"{name}{equals}{places.get(where.strip().lower(), where)}" for name, equals, where in split)
