"""Tiny training sets on disk, made by rule: what is to be learned is known."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml
from rasterio.errors import NotGeoreferencedWarning

BANDS = ("blue", "red", "nir")
NODATA = -9999


def write_plain(path: Path, data: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = data.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", count=bands, height=height, width=width, dtype=data.dtype
        ) as file:
            file.write(data)


def write_set(folder: Path, *, chips: int = 8, size: int = 32, invalid: bool = True) -> Path:
    """Water (20) is dark in nir, trees (10) bright; returns a recipe that learns it."""
    rng = np.random.default_rng(7)
    rows = []
    for number in range(chips):
        label = np.where(rng.random((size // 8, size // 8)) < 0.5, 10, 20).astype(np.uint8)
        label = label.repeat(8, 0).repeat(8, 1)
        image = rng.normal((600, 500, 0), 60, (size, size, 3)).transpose(2, 0, 1)
        image[2] += np.where(label == 10, 3000, 200)
        image = image.round().astype(np.int16)
        label[0, 0] = 255
        if invalid:
            image[:, -4:, -4:] = NODATA
        name = f"chip_{number}.tif"
        write_plain(folder / "images" / name, image)
        write_plain(folder / "labels" / name, label[None])
        rows.append({"file": name, "split": "val" if number % 4 == 0 else "train", "place_group": f"p{number // 2}"})
    for row in rows:  # a place keeps the split of its first chip
        row["split"] = next(r["split"] for r in rows if r["place_group"] == row["place_group"])
    with (folder / "chips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return write_recipe(folder, recipe())


def write_recipe(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def recipe() -> dict[str, Any]:
    return {
        "model": {
            "name": "tiny",
            "version": "1",
            "license": "CC0-1.0",
            "attribution": "made by a rule",
            "purpose": "tests",
            "gsd_m": [10, 30],
            "training_data": [{"name": "rule", "license": "CC0-1.0", "attribution": "none"}],
        },
        "data": {
            "images": "images",
            "labels": "labels",
            "index": "chips.csv",
            "bands": list(BANDS),
            "scale": 0.0001,
            "nodata": NODATA,
        },
        "bands": [{"name": "nir", "haze": 0.01}, {"name": "red", "optional": True}],
        "classes": [
            {"code": 10, "name": "trees", "color": "#006400", "labels": [10]},
            {"code": 80, "name": "water", "color": "#0064c8", "labels": [20]},
        ],
        "ignore": [255],
        "network": {
            "architecture": "unet",
            "encoder": "tu-regnetx_002",
            "options": {"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
            "stride": 8,
            "chip": 256,
        },
        "augment": {
            "crop": 32,
            "zoom": [0.8, 2.0],
            "gain": [0.9, 1.1],
            "haze": 0.5,
            "drop_optional": 0.25,
            "erase": 0.2,
        },
        "fit": {"epochs": 1, "batch": 2, "lr": 0.003, "average": 0.5, "seed": 3, "threads": 1},
    }
