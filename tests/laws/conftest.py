"""A small run that takes a second, for the laws of interruption."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_kit import cut, geoseg, reflectance_model
from resume_kit import FLAGS, TILE


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    return reflectance_model(tmp_path_factory.mktemp("model") / "toy.safetensors")


@pytest.fixture(scope="session")
def piece(sample, tmp_path_factory) -> Path:
    return cut(sample, tmp_path_factory.mktemp("piece") / "piece.tif", width=200, height=150)


@pytest.fixture(scope="session")
def command(piece, model) -> tuple[object, ...]:
    """All but the output folder."""
    return ("run", piece, "-m", model, *FLAGS, *TILE, "-o")


@pytest.fixture(scope="session")
def undisturbed(command, tmp_path_factory) -> Path:
    """What a run gives that nobody disturbs."""
    out = tmp_path_factory.mktemp("undisturbed")
    assert geoseg(*command, out).code == 0
    return out
