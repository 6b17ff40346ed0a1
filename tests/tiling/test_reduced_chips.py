"""Chips that nothing is averaged with are classified on the device: the same map as by way of their scores."""

import numpy as np
import pytest
from builders import unet_model, write_raster
from prediction_kit import predicted

from geoseg.io.compose import open_scene
from geoseg.model.predictor import Predictor
from geoseg.tiling import worker


@pytest.fixture
def scene(tmp_path):
    data = np.random.default_rng(0).integers(1, 200, (4, 150, 210)).astype("uint8")
    data[:, 30:70, 100:140] = 0
    return open_scene([write_raster(tmp_path / "s.tif", data, nodata=0, names=["b1", "b2", "b3", "b4"])])


def test_both_ways_give_the_same_map(scene, tmp_path, monkeypatch):
    model = unet_model(tmp_path / "m.safetensors")
    direct = predicted(scene, model, tile=70)
    with monkeypatch.context() as patch:
        patch.setattr(worker, "Trim", type("NoTrim", (), {}))
        patch.setattr(Predictor, "reduced", None)
        direct.assert_equal(predicted(scene, model, tile=70))
    assert len(np.unique(direct.index)) > 2

    def shifted(self, chips, parts, how, scale, offset, inner=Predictor.reduced):
        parts = [(rows, slice(cols.start - 1, cols.stop - 1)) for rows, cols in parts]
        return inner(self, chips, parts, how, scale, offset)

    # Mutation: another part of the chip.
    monkeypatch.setattr(Predictor, "reduced", shifted)
    with pytest.raises(AssertionError):
        direct.assert_equal(predicted(scene, model, tile=70))
