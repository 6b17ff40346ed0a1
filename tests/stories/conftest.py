"""What stories share: a model and a small scene, neither ever written to, and a cache of a test's own."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from cli_kit import cut, reflectance_model


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    return reflectance_model(tmp_path_factory.mktemp("model") / "toy.safetensors")


@pytest.fixture(scope="session")
def piece(sample, tmp_path_factory) -> Path:
    return cut(sample, tmp_path_factory.mktemp("piece") / "piece.tif")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a folder for temporary files of the test's own; no proxy between it and its server."""
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path
