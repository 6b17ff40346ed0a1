"""Makes `geoseg/training/spectra.csv` from two Sentinel-2 scenes: `python tests/training/spectra_kit.py SCENE…`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from sklearn.cluster import KMeans

TEN = ("blue", "green", "red", "nir")
TWENTY = ("rededge071", "rededge075", "rededge078", "nir08", "swir16", "swir22")
SPECTRA = 64
EVERY = 97
DARK = 0.01
"""Added before the logarithm, so that water is not split into noise."""


def pixels_of(folder: Path) -> NDArray[np.float64]:
    """Reflectance (pixel, band) of every 97th pixel of a scene that all bands see, on the 10 m grid."""
    with rasterio.open(folder / "s2_10m.tif") as ten, rasterio.open(folder / "s2_20m.tif") as twenty:
        place = {"crs": ten.crs, "transform": ten.transform, "width": ten.width, "height": ten.height}
        with WarpedVRT(twenty, **place, resampling=Resampling.bilinear) as onto:
            data = np.concatenate([ten.read(), onto.read()])
    there = (data > 0).all(axis=0)
    return data[:, there].T[::EVERY] / 1e4


def spectra_of(folders: list[Path]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean reflectance (spectrum, band) of clusters of pixels, darkest first, and how many pixels each has."""
    pixels = np.concatenate([pixels_of(folder) for folder in folders])
    found = KMeans(SPECTRA, n_init=1, random_state=0).fit_predict(np.log(pixels + DARK))
    counts = np.bincount(found, minlength=SPECTRA)
    means = np.stack([np.bincount(found, weights=column) / counts for column in pixels.T], axis=1)
    order = np.argsort(means.sum(axis=1))
    return means[order], counts[order]


if __name__ == "__main__":
    means, counts = spectra_of([Path(name) for name in sys.argv[1:]])
    target = Path(__file__).parents[2] / "geoseg" / "training" / "spectra.csv"
    with target.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*TEN, *TWENTY, "pixels"])
        table.writerows([*(f"{value:.4f}" for value in row), count] for row, count in zip(means, counts, strict=True))
