"""Shared set-up: property tests without clocks, worker threads like the predictor's."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

from fork_kit import Forked

from geoseg.io.limits import cpu_count

settings.register_profile(
    "geoseg",
    deadline=None,
    derandomize=True,
    max_examples=int(os.environ.get("GEOSEG_EXAMPLES", "25")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("geoseg")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Shells let their background jobs ignore it, and so would every command that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).parents[2] / "shared" / "data"
SAMPLE = Path(__file__).parents[1] / "data" / "eastern_shore_s2.tif"


def pytest_report_header() -> list[str]:
    import pyogrio
    import rasterio

    return [
        f"GDAL {rasterio.__gdal_version__} (rasterio), {pyogrio.__gdal_version_string__} (pyogrio)",
        f"shared data: {SHARED if SHARED.is_dir() else 'not here, its tests skip'}",
    ]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: one more than processors, since a fifth of the time tests wait for disks and other processes."""
    return cpu_count() + 1


@pytest.fixture(scope="session")
def forked() -> Forked:
    return Forked()


@pytest.fixture(scope="session")
def sample() -> Path:
    return SAMPLE


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the shared imagery (../shared/data) is not here")
    return SHARED
