"""Asking for help, or importing the package, loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchgeo", "dask", "distributed", "rasterio", "pyogrio", "geopandas", "pyarrow", "shapely", "PIL")
REPORT = f"""
import sys
loaded = [name for name in {HEAVY!r} if name in sys.modules]
print("loaded:", *loaded, file=sys.stderr)
"""


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """Run in a fresh interpreter, and name on stderr which heavy libraries it holds at the end."""
    done = subprocess.run(
        [sys.executable, "-c", code + REPORT], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def loaded(done: subprocess.CompletedProcess[str]) -> list[str]:
    return done.stderr.strip().splitlines()[-1].split()[1:]


def test_the_report_sees_what_is_loaded() -> None:
    assert loaded(run_python("import shapely")) == ["shapely"]


def test_importing_geoseg_is_light() -> None:
    done = run_python("import geoseg, sys; print('numpy' in sys.modules, geoseg.__version__)")
    assert loaded(done) == []
    assert done.stdout.startswith("False ")


@pytest.mark.parametrize("module", ["geoseg.console", "geoseg.settings", "geoseg.errors"])
def test_the_doors_helpers_are_light(module: str) -> None:
    done = run_python(f"import {module}, sys; print([n for n in ('rich', 'numpy') if n in sys.modules])")
    assert loaded(done) == []
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["run"],
        ["segment"],
        ["vectorize"],
        ["change"],
        ["combine"],
        ["evaluate"],
        ["sample"],
        ["suggest"],
        ["info"],
        ["doctor"],
        ["train"],
        ["verify"],
        ["batch"],
    ],
)
def test_help_is_light(command: list[str]) -> None:
    done = run_python(
        f"from geoseg.cli import main\nmain({[*command, '--help']!r}, standalone_mode=False, prog_name='geoseg')"
    )
    assert loaded(done) == []
    assert f"Usage: geoseg{''.join(' ' + part for part in command)} " in done.stdout


@pytest.mark.parametrize("name", ["run", "segment", "vectorize", "evaluate", "Scene", "RunSettings"])
def test_public_names_are_found_when_asked_for(name: str) -> None:
    done = run_python(f"import geoseg; print(geoseg.{name}.__name__)")
    assert done.stdout.strip() == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    done = run_python("import geoseg\ntry: geoseg.nonsense\nexcept AttributeError as e: print(e)")
    assert "no attribute 'nonsense'" in done.stdout
