"""`import geoseg`: the command line's jobs as functions of paths and settings, with results as objects."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import dask.array
import numpy as np
import pytest
import rasterio
from builders import write_raster
from cli_kit import CLASSES, codes_of, cut, polygons_in, reflectance_model

import geoseg
from geoseg.errors import GeosegError, OutputExistsError, UsageError
from geoseg.io import read as read_module


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(reflectance_model(tmp_path_factory.mktemp("model") / "toy.safetensors"))


@pytest.fixture(scope="module")
def piece(sample, tmp_path_factory) -> Path:
    return cut(sample, tmp_path_factory.mktemp("piece") / "piece.tif")


@pytest.fixture
def settings(model) -> geoseg.RunSettings:
    return geoseg.RunSettings(predict=geoseg.PredictSettings(model=model, confidence=True))


def test_run_twice_gives_the_same_result_object(piece, settings, tmp_path) -> None:
    first = geoseg.run(piece, tmp_path, settings)
    second = geoseg.run(str(piece), str(tmp_path), settings)
    assert (first.up_to_date, second.up_to_date) == (False, True)
    assert second == dataclasses.replace(first, up_to_date=True)
    assert first.record == tmp_path / "piece.json"
    assert all(path.is_file() for path in (first.classes, first.confidence, first.preview, first.record))
    assert len(polygons_in(first.polygons[0])) == first.n_polygons
    codes = codes_of(first.classes)
    assert first.summary.pixels == {c.name: int((codes == c.code).sum()) for c in CLASSES.classes}
    assert first.summary.area_m2 == {name: 100.0 * n for name, n in first.summary.pixels.items()}


def test_segment_then_vectorize_twice(piece, settings, tmp_path) -> None:
    for again in (False, True):
        segmented = geoseg.segment([piece], tmp_path / "piece.classes.tif", settings)
        vectorized = geoseg.vectorize(segmented.classes, tmp_path / "piece.gpkg")
        assert (segmented.up_to_date, vectorized.up_to_date) == (again, again)
    assert segmented.confidence == tmp_path / "piece.confidence.tif"
    assert vectorized.area_m2 == segmented.summary.area_m2
    assert vectorized.n_polygons == sum(vectorized.count.values()) == len(polygons_in(tmp_path / "piece.gpkg"))


def test_errors_are_those_of_the_command_line_and_of_python(piece, settings, tmp_path) -> None:
    with pytest.raises(UsageError, match="--stack"):
        geoseg.run([piece, piece], tmp_path, settings)
    with pytest.raises(FileNotFoundError) as caught:
        geoseg.segment(tmp_path / "none.tif", tmp_path / "o.tif", settings)
    assert isinstance(caught.value, GeosegError)
    geoseg.segment(piece, tmp_path / "o.tif", settings)
    other = dataclasses.replace(settings, predict=dataclasses.replace(settings.predict, confidence=False))
    with pytest.raises(OutputExistsError, match="confidence"):
        geoseg.segment(piece, tmp_path / "o.tif", other)


class Watched:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.tiles = self.pixels = self.done = 0
        self.notes: list[str] = []

    def start(self, tiles: int, pixels: int) -> None:
        self.tiles, self.pixels = tiles, pixels

    def advance(self, pixels: int) -> None:
        self.done += pixels

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.notes.append(text)


def test_a_watcher_sees_all_pixels_pass(piece, settings, tmp_path) -> None:
    watcher = Watched()
    geoseg.segment(piece, tmp_path / "o.tif", settings, watcher)
    assert watcher.done == watcher.pixels == 171 * 150
    assert watcher.tiles > 1
    assert watcher.notes[0].startswith("model toy 1")
    assert "DN·0.0001" in watcher.notes[1]


def test_public_names_are_complete_and_documented() -> None:
    assert set(geoseg.__all__) <= set(dir(geoseg))
    for name in geoseg.__all__:
        thing = getattr(geoseg, name)
        if callable(thing):
            assert inspect.getdoc(thing), name
            assert thing.__doc__ != object.__doc__, name


@pytest.mark.parametrize("function", [geoseg.run, geoseg.segment, geoseg.vectorize, geoseg.evaluate, geoseg.open_scene])
def test_functions_tell_arguments_and_errors(function) -> None:
    text = inspect.getdoc(function) or ""
    assert "Args:" in text
    assert "Raises:" in text
    for name in inspect.signature(function).parameters:
        assert f"{name}:" in text, name


def test_public_names_are_not_modules() -> None:
    """`geoseg.run` must stay the function when `geoseg.stories.run` has been imported."""
    import geoseg.stories.run
    import geoseg.stories.segment
    import geoseg.stories.vectorize

    assert all(callable(f) for f in (geoseg.run, geoseg.segment, geoseg.vectorize))


@pytest.mark.parametrize("chunk", [64, 100, 4096])
def test_a_scene_is_a_lazy_dask_array_of_reflectance(tmp_path, chunk, monkeypatch) -> None:
    data = np.random.default_rng(2).integers(1, 10_000, (2, 150, 130)).astype("uint16")
    data[:, 20:40, 60:70] = 0
    path = write_raster(tmp_path / "scene.tif", data, nodata=0, names=["red", "nir"])
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (1e-4, 1e-4), (-0.1, -0.1)
    reads = []
    original = read_module.read_inside
    monkeypatch.setattr(read_module, "read_inside", lambda scene, w: (reads.append(w), original(scene, w))[1])
    lazy = geoseg.open_scene(path).to_dask(chunk)
    assert isinstance(lazy, dask.array.Array)
    assert (lazy.shape, lazy.dtype, reads) == ((2, 150, 130), np.float32, [])
    corner = lazy[:, :10, :10].compute(scheduler="sync")
    assert len(reads) == 1
    expected = np.where(data == 0, np.nan, data * 1e-4 - 0.1)
    np.testing.assert_allclose(corner, expected[:, :10, :10], atol=1e-7)
    np.testing.assert_allclose(lazy.compute(scheduler="threads"), expected, atol=1e-7)


def test_a_scene_carries_its_place(piece) -> None:
    scene = geoseg.open_scene(piece)
    assert isinstance(scene, geoseg.Scene)
    with rasterio.open(piece) as dataset:
        assert (scene.grid.width, scene.grid.height) == (dataset.width, dataset.height)
        assert scene.grid.transform == dataset.transform
        assert scene.grid.crs.to_epsg() == dataset.crs.to_epsg()


def test_settings_are_refused_at_birth() -> None:
    for wrong in (
        lambda: geoseg.PredictSettings(device="gpu"),
        lambda: geoseg.PredictSettings(batch_size=0),
        lambda: geoseg.ScheduleSettings(workers=0),
        lambda: geoseg.VectorSettings(formats=("kml",)),
        lambda: geoseg.VectorSettings(formats=()),
    ):
        with pytest.raises(UsageError):
            wrong()
    with pytest.raises(dataclasses.FrozenInstanceError):
        geoseg.OutputSettings().overwrite = True
