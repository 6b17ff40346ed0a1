"""The scene's picture is taken beside the run, and never keeps anybody waiting."""

import threading

import numpy as np
import pytest
from builders import write_raster

from geoseg.io.compose import open_scene
from geoseg.stories import pictures
from geoseg.stories.pictures import Photographer

PATIENCE_S = 60


@pytest.fixture
def scene(tmp_path):
    data = np.random.default_rng(0).integers(1, 200, (3, 20, 30)).astype("uint8")
    return open_scene([write_raster(tmp_path / "s.tif", data, names=["red", "green", "blue"])])


def test_whoever_leaves_does_not_wait_for_the_picture(scene, monkeypatch):
    told = []

    def slow(*_, **__):
        told.append(pictures_stop.wait(PATIENCE_S))
        raise InterruptedError

    with Photographer(scene) as photographer:
        pictures_stop = photographer._stop
        monkeypatch.setattr(pictures, "small_image", slow)
        picture = photographer.picture()
    assert told == [True]
    assert isinstance(picture.exception(), InterruptedError)


def test_it_is_taken_once_in_another_thread(scene, monkeypatch):
    threads = []
    inner = pictures.small_image

    def watched(*args):
        threads.append(threading.current_thread())
        return inner(*args)

    monkeypatch.setattr(pictures, "small_image", watched)
    with Photographer(scene) as photographer:
        first, again = photographer.picture(), photographer.picture()
        assert first.result().shape == (20, 30, 3)
    assert first is again
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


def test_without_the_bands_there_is_none(scene):
    with Photographer(scene.select(("red", "blue"))) as photographer:
        assert photographer.picture().result() is None
