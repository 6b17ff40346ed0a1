"""The model that ships: what its speed must not cost."""

import numpy as np
from affine import Affine
from pyproj import CRS

from geoseg.grid import Grid, Window
from geoseg.io.compose import open_scene
from geoseg.io.read import read_chip
from geoseg.model.device import Resolved
from geoseg.model.file import find_model
from geoseg.model.predictor import Predictor
from geoseg.settings import ReadSettings
from geoseg.tiling.plan import plan_tiles


def test_bf16_gives_the_classes_of_fp32(sample):
    model = find_model("landcover")
    scene = open_scene([str(sample)], ReadSettings()).select(model.spec.band_names)
    chip = read_chip(scene, Window(256, 256, 512, 512))
    classes = []
    for precision in ("fp32", "bf16"):
        predictor = Predictor.load(model, scene.names, Resolved("cpu", precision, 1))
        (scores,) = predictor.scores([chip], scene.scale, scene.offset)
        classes.append(scores.argmax(axis=0))
    assert 0.99 < np.mean(classes[0] == classes[1]) < 1


def test_chips_overlap_by_a_third_at_most():
    spec = find_model("landcover").spec
    grid = Grid(CRS.from_epsg(32618), Affine(10, 0, 4e5, 0, -10, 4e6), 8192, 8192)
    plan = plan_tiles(grid, chip=spec.chip, margin=spec.margin, stride=spec.stride, tile=2048)
    assert plan.halo_factor <= 1.35
