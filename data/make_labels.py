"""Writes `eastern_shore_labels.gpkg`: boxes drawn by eye on `eastern_shore_s2.tif`, for `geoseg train`.

    python data/make_labels.py

Drawn on true-color and near-infrared pictures of the scene, well inside areas whose class is plain to see.
They are no survey, and say nothing about fields other than whether they were green on that day. CC0-1.0.
"""

from pathlib import Path

import geopandas as gpd
import rasterio
from shapely import Polygon

HERE = Path(__file__).parent
# Pixels of the scene: first column, first row, column and row after the last.
BOXES = {
    "water": (
        (297, 338, 306, 347),
        (252, 427, 284, 440),
        (345, 390, 378, 399),
        (812, 60, 900, 140),
        (720, 230, 800, 300),
        (680, 315, 715, 345),
        (880, 620, 980, 700),
        (850, 820, 950, 940),
        (285, 940, 370, 1000),
        (370, 850, 430, 880),
        (520, 790, 570, 860),
        (630, 653, 657, 660),
        (557, 722, 564, 735),
        (691, 568, 697, 595),
        (655, 551, 678, 556),
        (672, 990, 681, 1012),
        (720, 620, 740, 628),
    ),
    "marsh": (
        (702, 792, 752, 822),
        (637, 727, 677, 762),
        (527, 567, 567, 607),
        (732, 857, 762, 882),
        (522, 962, 567, 1007),
        (662, 465, 702, 495),
        (668, 76, 695, 95),
        (942, 195, 962, 220),
        (808, 385, 820, 407),
        (262, 790, 285, 812),
        (415, 777, 440, 810),
    ),
    "trees": (
        (36, 277, 105, 310),
        (352, 38, 378, 85),
        (255, 402, 284, 414),
        (545, 128, 575, 153),
        (690, 150, 715, 180),
        (105, 715, 185, 760),
        (107, 775, 160, 800),
        (325, 652, 350, 702),
        (357, 688, 370, 718),
        (330, 542, 368, 558),
    ),
    "green field": (
        (130, 323, 200, 345),
        (240, 352, 280, 374),
        (305, 50, 335, 76),
        (33, 168, 60, 183),
        (475, 368, 500, 381),
        (672, 138, 686, 162),
        (547, 280, 590, 305),
        (545, 400, 585, 425),
        (177, 631, 213, 647),
        (262, 608, 292, 633),
        (200, 775, 238, 788),
        (418, 650, 442, 674),
    ),
    "bare field": (
        (225, 187, 258, 218),
        (270, 90, 310, 120),
        (418, 62, 443, 93),
        (470, 150, 507, 190),
        (312, 277, 342, 308),
        (330, 327, 356, 362),
        (165, 254, 200, 276),
        (68, 200, 92, 226),
        (767, 3, 805, 28),
        (592, 122, 620, 162),
        (87, 519, 123, 555),
        (331, 792, 342, 811),
    ),
    "sand": (
        (1000, 96, 1017, 120),
        (988, 150, 1003, 188),
        (966, 240, 978, 262),
        (947, 290, 960, 320),
        (930, 345, 944, 378),
        (813, 582, 822, 622),
        (800, 648, 814, 676),
        (779, 812, 786, 832),
        (768, 858, 776, 888),
        (753, 927, 763, 952),
        (737, 992, 748, 1016),
    ),
}


def main() -> None:
    """Write the labels."""
    with rasterio.open(HERE / "eastern_shore_s2.tif") as scene:
        crs, transform = scene.crs, scene.transform
    rows = [(name, polygon(transform, *box)) for name, boxes in BOXES.items() for box in boxes]
    labels = gpd.GeoDataFrame({"class": [name for name, _ in rows]}, geometry=[shape for _, shape in rows], crs=crs)
    labels.to_file(
        HERE / "eastern_shore_labels.gpkg",
        layer="labels",
        layer_metadata={"LICENSE": "CC0-1.0", "SOURCE": "boxes drawn by eye on eastern_shore_s2.tif"},
    )


def polygon(transform: rasterio.Affine, left: int, top: int, right: int, bottom: int) -> Polygon:
    """A box of pixels in the scene's CRS."""
    return Polygon([transform @ corner for corner in ((left, top), (right, top), (right, bottom), (left, bottom))])


if __name__ == "__main__":
    main()
