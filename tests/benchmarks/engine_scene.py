"""What the engine's benchmark works on: a large scene made of small real ones, and a network of random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.windows import Window as RasterioWindow

from geoseg.grid import Window
from geoseg.io.compose import open_scene
from geoseg.io.read import read_chip
from geoseg.model.build import build
from geoseg.model.file import find_model, save_model
from geoseg.model.normalize import normalize, reflectance
from geoseg.model.spec import Architecture
from geoseg.settings import ReadSettings

PIECE = 1024
LARGE = 16_384
VRT_PIECE = 4096
VRT_PIECES = 6


def write_scene(folder: Path, sources: list[Path], size: int) -> Path:
    """A mosaic of size² pixels: one file, or from `LARGE` on a VRT of a few that come again and again."""
    if size < LARGE:
        found = write_mosaic(folder / f"scene_{size}.tif", sources, size)
        assert found is not None
        return found
    pieces = [write_mosaic(folder / f"piece_{n}.tif", sources, VRT_PIECE, seed=n) for n in range(VRT_PIECES)]
    return _write_vrt(folder / f"scene_{size}.vrt", [piece for piece in pieces if piece], size)


def _write_vrt(path: Path, pieces: list[Path], size: int) -> Path:
    random, across = np.random.default_rng(0), -(-size // VRT_PIECE)
    order = random.integers(len(pieces), size=(across, across))
    with rasterio.open(pieces[0]) as first:
        dtype = {"uint8": "Byte", "uint16": "UInt16", "float32": "Float32"}[first.dtypes[0]]
        root = Element("VRTDataset", rasterXSize=str(size), rasterYSize=str(size))
        SubElement(root, "SRS").text = first.crs.to_wkt()
        SubElement(root, "GeoTransform").text = ", ".join(map(repr, first.transform.to_gdal()))
        metadata = SubElement(root, "Metadata")
        for name, value in first.tags().items():
            SubElement(metadata, "MDI", key=name).text = value
        for number in first.indexes:
            band = SubElement(root, "VRTRasterBand", dataType=dtype, band=str(number))
            for tag, value in (
                ("Description", first.descriptions[number - 1]),
                ("NoDataValue", first.nodata),
                ("Scale", first.scales[number - 1]),
                ("Offset", first.offsets[number - 1]),
            ):
                if value is not None:
                    SubElement(band, tag).text = str(value)
            for (row, col), piece in np.ndenumerate(order):
                source = SubElement(band, "SimpleSource")
                SubElement(source, "SourceFilename", relativeToVRT="1").text = pieces[piece].name
                SubElement(source, "SourceBand").text = str(number)
                side = str(VRT_PIECE)
                SubElement(source, "SrcRect", xOff="0", yOff="0", xSize=side, ySize=side)
                place = {"xOff": str(col * VRT_PIECE), "yOff": str(row * VRT_PIECE)}
                SubElement(source, "DstRect", xSize=side, ySize=side, **place)
    ElementTree(root).write(path)
    return path


def write_mosaic(path: Path, sources: list[Path], size: int, seed: int = 0) -> Path | None:
    """Size² pixels of shifted, flipped and turned copies, seeded; kept when it is there. None for size 0."""
    if not size or path.exists():
        return path if size else None
    draft, random, scenes = path.with_suffix(".part"), np.random.default_rng(seed), []
    for source in sources:
        with rasterio.open(source) as dataset:
            scenes.append(dataset.read())
            names, tags, profile = dataset.descriptions, dataset.tags(), dataset.profile
            band_tags, scales, offsets = [dataset.tags(i) for i in dataset.indexes], dataset.scales, dataset.offsets
    profile |= {"driver": "GTiff", "width": size, "height": size, "tiled": True, "blockxsize": 512, "blockysize": 512}
    profile |= {"compress": "deflate", "predictor": 2, "zlevel": 1, "bigtiff": "if_safer"}
    with rasterio.open(draft, "w", **profile, num_threads="all_cpus") as dataset:
        dataset.descriptions, dataset.scales, dataset.offsets = names, scales, offsets
        dataset.update_tags(**{name: value for name, value in tags.items() if name != "AREA_OR_POINT"})
        for number, own in enumerate(band_tags, 1):
            dataset.update_tags(number, **own)
        for row in range(0, size, PIECE):
            for col in range(0, size, PIECE):
                piece = _copy(scenes[random.integers(len(scenes))], random)
                high, wide = min(PIECE, size - row), min(PIECE, size - col)
                dataset.write(piece[:, :high, :wide], window=RasterioWindow(col, row, wide, high))
    return draft.rename(path)


def _copy(scene: NDArray[np.generic], random: np.random.Generator) -> NDArray[np.generic]:
    shift = tuple(random.integers(0, scene.shape[1:]))
    repeats = -(-PIECE // min(scene.shape[1:]))
    piece = np.tile(np.roll(scene, shift, (1, 2)), (1, repeats, repeats))[:, :PIECE, :PIECE]
    piece = np.rot90(piece, random.integers(4), (1, 2))
    return piece[:, ::-1] if random.integers(2) else piece


def random_unet(path: Path, raster: Path) -> Path:
    """U-Net resnet18 on the bands and classes of `landcover`, each class centered on a sample of the raster."""
    spec = find_model("landcover").spec
    torch.manual_seed(0)
    spec = replace(spec, name="unet-resnet18", architecture=Architecture(name="unet", encoder="resnet18"), stride=32)
    network = build(spec).eval()
    scene = open_scene([raster], ReadSettings())
    scene = scene.select([name for name in spec.band_names if name in scene.names])
    chip = read_chip(scene, Window(0, 0, PIECE, PIECE))
    bands = [band for name in scene.names for band in spec.bands if band.name == name]
    values = normalize(reflectance(chip.data, scene.scale, scene.offset), bands)
    with torch.inference_mode():
        logits = network(torch.from_numpy(values)[None])
    with torch.no_grad():
        network.segmentation_head[0].bias -= logits.mean(dim=(0, 2, 3))
    save_model(path, network.state_dict(), spec)
    return path
