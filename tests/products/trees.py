"""Small products in their providers' real layout: Sentinel-2 SAFE, Landsat, HLS; folders, zips and tars.

All arrays are (row, col). `transform` places the 10 m (Sentinel-2) or 30 m (Landsat, HLS) grid; coarser and finer
bands start at the same corner, so a 20 m band of an 8 × 8 scene at 10 m has 4 × 4 pixels.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

UTM = "EPSG:32618"
CORNER = Affine(10.0, 0.0, 400_000.0, 0.0, -10.0, 4_200_000.0)
CORNER_30 = Affine(30.0, 0.0, 400_000.0, 0.0, -30.0, 4_200_000.0)
S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
S2_GSD = dict.fromkeys(("B02", "B03", "B04", "B08"), 10) | dict.fromkeys(("B01", "B09", "B10"), 60)
START = "2023-06-15T15:58:21.024Z"
SPACECRAFT = {"8": "LANDSAT_8", "9": "LANDSAT_9", "7": "LANDSAT_7", "5": "LANDSAT_5", "4": "LANDSAT_4"}


def raster(path: Path, data: np.ndarray, transform: Affine, crs: str = UTM, **options: Any) -> Path:
    """One file of one or several bands (row, col) or (band, row, col); JP2 without loss, else GeoTIFF."""
    planes = data if data.ndim == 3 else data[None]
    if path.suffix == ".jp2":
        options = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES", **options}
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"count": len(planes), "height": planes.shape[1], "width": planes.shape[2], "dtype": planes.dtype}
    with rasterio.open(path, "w", transform=transform, crs=crs, **profile, **options) as dataset:
        dataset.write(planes)
    return path


def safe(
    folder: Path,
    data_by_band: Mapping[str, np.ndarray],
    *,
    level: str = "L2A",
    offset: int | Mapping[str, int] | None = -1000,
    scl: np.ndarray | None = None,
    classi: np.ndarray | None = None,
    transform: Affine = CORNER,
    crs: str = UTM,
    tile: str = "T18SVG",
    start: str = START,
) -> Path:
    """A compact SAFE folder as ESA delivers it since December 2016; returns its path below `folder`.

    Args:
        folder: where it is made.
        data_by_band: `B02` → digital numbers at the band's native pixel size, or `B02_20m` for a coarser repeat (L2A).
        level: L1C or L2A.
        offset: of the metadata, for all bands or by band; None: a product from before processing baseline 04.00.
        scl: scene classification at 20 m (L2A).
        classi: MSK_CLASSI_B00 (band, row, col) at 60 m: opaque cloud, cirrus, snow (L1C).
        transform: of the 10 m grid.
        crs: of all files.
        tile: name of the MGRS tile.
        start: PRODUCT_START_TIME.
    """
    baseline = "02.07" if offset is None else "05.09"
    stamp = start[:19].replace("-", "").replace(":", "")
    root = folder / f"S2A_MSI{level}_{stamp}_N{baseline.replace('.', '')}_R097_{tile}_20230615T221500.SAFE"
    granule = root / "GRANULE" / f"{level}_{tile}_A041678_{stamp}"
    for key, data in data_by_band.items():
        band, _, size = key.partition("_")
        gsd = int(size[:-1]) if size else S2_GSD.get(band, 20)
        name = f"{tile}_{stamp}_{band}.jp2" if level == "L1C" else f"R{gsd}m/{tile}_{stamp}_{band}_{gsd}m.jp2"
        raster(granule / "IMG_DATA" / name, data, transform @ Affine.scale(gsd / 10), crs)
    quality = granule / "QI_DATA"
    raster(quality / "MSK_DETFOO_B02.jp2", np.ones((8, 8), np.uint8), transform, crs)  # named like a band, but none
    if scl is not None:
        name = f"R20m/{tile}_{stamp}_SCL_20m.jp2"
        raster(granule / "IMG_DATA" / name, scl.astype(np.uint8), transform @ Affine.scale(2), crs)
    if classi is not None:
        raster(quality / "MSK_CLASSI_B00.jp2", classi.astype(np.uint8), transform @ Affine.scale(6), crs)
    elif level == "L1C" and offset is None:
        (quality / "MSK_CLOUDS_B00.gml").write_text("<eop:Mask/>")
    (root / f"MTD_MSI{level}.xml").write_text(s2_mtd(level, offset, baseline, start, root.name))
    (granule / "MTD_TL.xml").write_text(f"<n1:Level-{level[1:]}_Tile_ID xmlns:n1='x'/>")
    (root / "manifest.safe").write_text("<xfdu:XFDU xmlns:xfdu='urn:ccsds:schema:xfdu:1'/>")
    return root


def s2_mtd(level: str, offset: int | Mapping[str, int] | None, baseline: str, start: str, uri: str) -> str:
    """The product metadata, shortened to what readers use; element order and namespaces as in the real file."""
    kind = level[1:]
    name, box = (
        ("RADIO_ADD_OFFSET", "Radiometric_Offset_List")
        if level == "L1C"
        else ("BOA_ADD_OFFSET", "BOA_ADD_OFFSET_VALUES_LIST")
    )
    by_band = dict.fromkeys(S2_BANDS, offset) if isinstance(offset, int) else offset or {}
    lines = "\n".join(f'<{name} band_id="{S2_BANDS.index(band)}">{value}</{name}>' for band, value in by_band.items())
    offsets = f"<{box}>\n{lines}\n</{box}>" if by_band else ""
    quantification = (
        '<QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>'
        if level == "L1C"
        else """<QUANTIFICATION_VALUES_LIST>
        <BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
        <AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE>
        <WVP_QUANTIFICATION_VALUE unit="cm">1000.0</WVP_QUANTIFICATION_VALUE>
      </QUANTIFICATION_VALUES_LIST>"""
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-{kind}_User_Product xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{kind}.xsd">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>{start}</PRODUCT_START_TIME>
      <PRODUCT_STOP_TIME>{start}</PRODUCT_STOP_TIME>
      <PRODUCT_URI>{uri}</PRODUCT_URI>
      <PROCESSING_LEVEL>Level-{kind}</PROCESSING_LEVEL>
      <PRODUCT_TYPE>S2MSI{kind}</PRODUCT_TYPE>
      <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
      <GENERATION_TIME>2023-06-15T22:15:00.000000Z</GENERATION_TIME>
      <Datatake datatakeIdentifier="GS2A_20230615T155821_041678_N05.09">
        <SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME>
        <DATATAKE_SENSING_START>{start}</DATATAKE_SENSING_START>
      </Datatake>
    </Product_Info>
    <Product_Image_Characteristics>
      <Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
      </Special_Values>
      {quantification}
      {offsets}
      <Reflectance_Conversion><U>0.9690</U></Reflectance_Conversion>
    </Product_Image_Characteristics>
  </n1:General_Info>
</n1:Level-{kind}_User_Product>
"""


def zipped(folder: Path, name: str | None = None, *, bare: bool = False) -> Path:
    """X.SAFE → X.SAFE.zip beside it (or `name`), with the folder inside, or `bare` with its content at the top."""
    target = folder.with_name(name or f"{folder.name}.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder if bare else folder.parent))
    return target


def tarred(folder: Path, suffix: str = ".tar") -> Path:
    """X/ → X.tar beside it (or .tar.gz, .tgz), flat as USGS delivers."""
    target = folder.with_name(f"{folder.name}{suffix}")
    with tarfile.open(target, "w" if suffix == ".tar" else "w:gz") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    return target


def landsat(
    folder: Path,
    data_by_band: Mapping[str, np.ndarray],
    *,
    level: str = "L2SP",
    collection: str | None = "02",
    sensor: str = "LC08",
    qa: np.ndarray | None = None,
    mtl: bool = True,
    sun_elevation: float = 30.0,
    transform: Affine = CORNER_30,
    crs: str = UTM,
) -> Path:
    """A Landsat scene's folder; returns its path below `folder`.

    Args:
        folder: where it is made.
        data_by_band: `SR_B4` (level 2) or `B4` (level 1) → digital numbers at 30 m, `B8` at 15 m.
        level: L2SP, L2SR, L1TP, L1GT.
        collection: `02`, `01`, or None for a scene from before the collections.
        sensor: LC08, LC09, LE07, LT05, …
        qa: QA_PIXEL (Collection 2) or BQA.
        mtl: with `*_MTL.txt`.
        sun_elevation: degrees, in the metadata.
        transform: of the 30 m grid.
        crs: of all files.
    """
    scene = f"{sensor}_{level}_014034_20210704_20210712_{collection}_T1"
    if collection is None:
        scene = f"{sensor[:2]}{sensor[3]}0140342021185LGN00"
    root = folder / scene
    for band, data in data_by_band.items():
        raster(root / f"{scene}_{band}.TIF", data, transform @ Affine.scale(0.5 if band == "B8" else 1.0), crs)
    if qa is not None:
        raster(
            root / f"{scene}_{'QA_PIXEL' if collection == '02' else 'BQA'}.TIF", qa.astype(np.uint16), transform, crs
        )
    if mtl:
        write = landsat_mtl if collection == "02" else landsat_mtl_before_2
        (root / f"{scene}_MTL.txt").write_text(write(scene, sensor, collection, sun_elevation))
    return root


def _gains(numbers: list[str], quantity: str, scale: str, offset: str) -> str:
    lines = [f"{quantity}_MULT_BAND_{number} = {scale}" for number in numbers]
    return "\n    ".join([*lines, *(f"{quantity}_ADD_BAND_{number} = {offset}" for number in numbers)])


def _level_1_gains(sensor: str) -> str:
    """Band 4 has numbers of its own, so that a mix-up of bands or levels shows."""
    oli = sensor in {"LC08", "LC09"}
    seen = (
        [str(n) for n in range(1, 10) if n != 4]
        if oli
        else ["1", "2", "3", "5", "7", *(["8"] if sensor == "LE07" else [])]
    )
    heat = ["10", "11"] if oli else ["6_VCID_1", "6_VCID_2"] if sensor == "LE07" else ["6"]
    radiance = _gains([*seen, "4", *heat], "RADIANCE", "3.3420E-04", "0.10000")
    reflectance = _gains(seen, "REFLECTANCE", "2.0000E-05", "-0.100000")
    return f"{radiance}\n    {reflectance}\n    {_gains(['4'], 'REFLECTANCE', '1.8000E-05', '-0.090000')}"


def landsat_mtl(scene: str, sensor: str, collection: str | None, sun_elevation: float) -> str:
    """A Collection 2 metadata file: level 2 repeats the level 1 groups with the same keys."""
    level_2 = "_L2S" in scene
    seen = [str(n) for n in range(1, 8) if n != 6 or sensor in {"LC08", "LC09"}]
    heat = "ST_B10" if sensor in {"LC08", "LC09"} else "ST_B6"
    surface = f"""
  GROUP = LEVEL2_PROCESSING_RECORD
    PROCESSING_LEVEL = "L2SP"
  END_GROUP = LEVEL2_PROCESSING_RECORD
  GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
    {_gains(seen, "REFLECTANCE", "2.75e-05", "-0.2")}
  END_GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
  GROUP = LEVEL2_SURFACE_TEMPERATURE_PARAMETERS
    {_gains([heat], "TEMPERATURE", "0.00341802", "149.0")}
  END_GROUP = LEVEL2_SURFACE_TEMPERATURE_PARAMETERS"""
    return f"""GROUP = LANDSAT_METADATA_FILE
  GROUP = PRODUCT_CONTENTS
    ORIGIN = "Image courtesy of the U.S. Geological Survey"
    LANDSAT_PRODUCT_ID = "{scene}"
    PROCESSING_LEVEL = "{scene[5:9]}"
    COLLECTION_NUMBER = {collection}
    COLLECTION_CATEGORY = "T1"
  END_GROUP = PRODUCT_CONTENTS
  GROUP = IMAGE_ATTRIBUTES
    SPACECRAFT_ID = "{SPACECRAFT[sensor[3]]}"
    SENSOR_ID = "OLI_TIRS"
    DATE_ACQUIRED = 2021-07-04
    SCENE_CENTER_TIME = "15:46:09.3456780Z"
    SUN_AZIMUTH = 128.71
    SUN_ELEVATION = {sun_elevation}
  END_GROUP = IMAGE_ATTRIBUTES{surface if level_2 else ""}
  GROUP = LEVEL1_PROCESSING_RECORD
    LANDSAT_PRODUCT_ID = "{scene.replace("L2SP", "L1TP")}"
    PROCESSING_LEVEL = "L1TP"
  END_GROUP = LEVEL1_PROCESSING_RECORD
  GROUP = LEVEL1_RADIOMETRIC_RESCALING
    {_level_1_gains(sensor)}
  END_GROUP = LEVEL1_RADIOMETRIC_RESCALING
END_GROUP = LANDSAT_METADATA_FILE
END
"""


def landsat_mtl_before_2(scene: str, sensor: str, collection: str | None, sun_elevation: float) -> str:
    """A Collection 1 or older metadata file; the older ones name no collection."""
    collected = f'LANDSAT_PRODUCT_ID = "{scene}"\n    COLLECTION_NUMBER = {collection}\n    ' if collection else ""
    return f"""GROUP = L1_METADATA_FILE
  GROUP = METADATA_FILE_INFO
    ORIGIN = "Image courtesy of the U.S. Geological Survey"
    LANDSAT_SCENE_ID = "LC80140342021185LGN00"
    {collected}FILE_DATE = 2021-07-12T08:03:12Z
  END_GROUP = METADATA_FILE_INFO
  GROUP = PRODUCT_METADATA
    DATA_TYPE = "L1TP"
    SPACECRAFT_ID = "{SPACECRAFT[sensor[3]]}"
    SENSOR_ID = "OLI_TIRS"
    DATE_ACQUIRED = 2021-07-04
    SCENE_CENTER_TIME = "15:46:09.3456780Z"
  END_GROUP = PRODUCT_METADATA
  GROUP = IMAGE_ATTRIBUTES
    CLOUD_COVER = 12.31
    SUN_ELEVATION = {sun_elevation}
  END_GROUP = IMAGE_ATTRIBUTES
  GROUP = RADIOMETRIC_RESCALING
    {_level_1_gains(sensor)}
  END_GROUP = RADIOMETRIC_RESCALING
END_GROUP = L1_METADATA_FILE
END
"""


def hls(
    folder: Path,
    data_by_band: Mapping[str, np.ndarray],
    *,
    kind: str = "L30",
    fmask: np.ndarray | None = None,
    transform: Affine = CORNER_30,
    crs: str = UTM,
) -> Path:
    """An HLS v2.0 folder of int16 bands (`B04` → digital numbers at 30 m); returns its path below `folder`."""
    scene = f"HLS.{kind}.T18SVG.2021185T154609.v2.0"
    root = folder / scene
    for band, data in data_by_band.items():
        raster(root / f"{scene}.{band}.tif", data.astype(np.int16), transform, crs, nodata=-9999)
    if fmask is not None:
        raster(root / f"{scene}.Fmask.tif", fmask.astype(np.uint8), transform, crs, nodata=255)
    return root
