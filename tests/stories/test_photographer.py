"""The scene's picture is taken beside the run, and never keeps anybody waiting."""

import threading

import numpy as np
import pytest
from builders import write_raster
from cli_kit import geoseg

from geoseg.io.compose import open_scene
from geoseg.settings import ScheduleSettings
from geoseg.stories import photographer, run
from geoseg.stories.photographer import PIXEL_BYTES, Photographer, early_bytes

PATIENCE_S = 60


@pytest.fixture
def scene(tmp_path):
    data = np.random.default_rng(0).integers(1, 200, (3, 20, 30)).astype("uint8")
    return open_scene([write_raster(tmp_path / "s.tif", data, names=["red", "green", "blue"])])


def test_whoever_leaves_does_not_wait_for_the_picture(scene, monkeypatch):
    told = []

    def slow(*_, **__):
        told.append(stop.wait(PATIENCE_S))
        raise InterruptedError

    with Photographer(scene) as someone:
        stop = someone._stop
        monkeypatch.setattr(photographer, "small_image", slow)
        picture = someone.picture()
    assert told == [True]
    assert isinstance(picture.exception(), InterruptedError)


def test_it_is_taken_once_in_another_thread(scene, monkeypatch):
    threads = []
    inner = photographer.small_image

    def watched(*args):
        threads.append(threading.current_thread())
        return inner(*args)

    monkeypatch.setattr(photographer, "small_image", watched)
    with Photographer(scene) as someone:
        first, again = someone.picture(), someone.picture()
        assert first.result().shape == (20, 30, 3)
    assert first is again
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


def test_without_the_bands_there_is_none(scene):
    with Photographer(scene.select(("red", "blue"))) as someone:
        assert someone.picture().result() is None


def test_it_waits_where_it_would_be_in_the_way(scene, monkeypatch):
    plain = ScheduleSettings()
    assert early_bytes(scene, plain) == 20 * 30 * PIXEL_BYTES
    assert early_bytes(scene.select(("red",)), plain) == 0
    assert early_bytes(scene, ScheduleSettings(max_memory="4GB")) == 0
    monkeypatch.setattr(photographer, "has_large_blocks", lambda _: True)
    assert early_bytes(scene, plain) == 0
    monkeypatch.undo()
    monkeypatch.setattr(photographer, "is_remote", lambda _: True)
    assert early_bytes(scene, plain) == 0


@pytest.mark.parametrize(
    ("flags", "begun"), [((), ["picture", "tiles"]), (("--max-memory", "8GB"), ["tiles", "picture"])]
)
def test_a_run_begins_with_it_unless_memory_is_bounded(sample, model, tmp_path, monkeypatch, flags, begun):
    order = []
    ask, tiles = Photographer.picture, run.answered
    monkeypatch.setattr(Photographer, "picture", lambda self: (order.append("picture"), ask(self))[1])
    monkeypatch.setattr(run, "answered", lambda work: (order.append("tiles"), tiles(work))[1])
    assert geoseg("run", sample, "-o", tmp_path / "out", "-m", model, *flags).code == 0
    assert order[:2] == begun
