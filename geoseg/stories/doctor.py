"""`geoseg doctor`: what is installed here, does it work, and what may surprise."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from geoseg import __version__
from geoseg.io import machine
from geoseg.io import versions as io_versions
from geoseg.model import versions as model_versions
from geoseg.model.file import bundled, cached, read_spec

Question = Callable[[], dict[str, str]]
"""Gives name → finding; raises whatever is broken."""

NEEDED_FORMATS = ("GTiff", "COG", "VRT", "GPKG", "FlatGeobuf", "GeoJSON", "ESRI Shapefile")
LOW_SPACE = 5 * 2**30
LOW_MEMORY = 2 * 2**30
PACKAGES = ("numpy", "affine", "dask", "distributed", "pillow", "pydantic", "rich", "psutil")
EXTRAS = ("lightning", "onnx", "onnxruntime", "openvino", "pystac-client", "planetary-computer", "dask-jobqueue")


@dataclass(frozen=True)
class DoctorReport:
    """What was found."""

    sections: Mapping[str, Mapping[str, str]]
    """Heading → name → finding, in the order of presentation."""
    problems: tuple[str, ...]
    """What does not work: a library that is missing or does not import, a damaged model."""
    warnings: tuple[str, ...]
    """What works and may surprise."""

    @property
    def ok(self) -> bool:
        """True when nothing is broken."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and lists."""
        return {
            "ok": self.ok,
            "problems": list(self.problems),
            "warnings": list(self.warnings),
            **{heading: dict(rows) for heading, rows in self.sections.items()},
        }

    def lines(self) -> list[str]:
        """The report for people, problems last, where they are seen."""
        width = max((len(name) for rows in self.sections.values() for name in rows), default=0)
        out = []
        for heading, rows in self.sections.items():
            out += [heading, *(f"  {name:<{width}}  {finding}" for name, finding in rows.items()), ""]
        out += [f"warning: {text}" for text in self.warnings]
        out += [f"problem: {text}" for text in self.problems]
        return [*out, "everything works" if self.ok else f"{len(self.problems)} problem(s)"]


def doctor(folder: Path | None = None) -> DoctorReport:
    """Examine this installation.

    Nothing raises here for a library or model that is broken: it is reported, and the rest goes on.

    Args:
        folder: where results would be written, for the free space; None: the current folder.
    """
    warnings: list[str] = []
    problems: list[str] = []
    sections: dict[str, dict[str, str]] = {}
    for heading, questions in _questions(folder or Path.cwd(), warnings).items():
        sections[heading] = {}
        for subject, ask in questions.items():
            try:
                sections[heading] |= ask()
            except Exception as error:  # noqa: BLE001 (a broken library may raise anything: that is the finding)
                what = f"{type(error).__name__}: {error}".splitlines()[0]
                sections[heading][subject] = f"broken: {what}"
                problems.append(f"{subject} does not work ({what})")
    formats = sections["formats"]
    problems += [f"this GDAL lacks {name}" for name in NEEDED_FORMATS if formats.get(name) == "missing"]
    return DoctorReport(sections, tuple(problems), tuple(warnings))


def environment() -> dict[str, dict[str, str]]:
    """What a run's record keeps of the doctor's report: heading → name → finding.

    Libraries, devices and processor, as they are in this process; nothing that changes by the minute (free memory and
    space), and nothing that would have to be imported only to be asked. It stands in the record, not in a file of its
    own: the record is written once, last, and an up-to-date rerun leaves it alone.
    """
    return {
        "geoseg": _geoseg(),
        "geography": io_versions.versions() | io_versions.foreign_data(),
        "networks": model_versions.versions(),
        "devices": _devices([]),
        "packages": {name: metadata.version(name) for name in PACKAGES} | _extras(),
        "machine": _processor(),
    }


def _questions(folder: Path, warnings: list[str]) -> dict[str, dict[str, Question]]:
    """Heading → subject → question; a question may add to the warnings."""
    return {
        "geoseg": {"geoseg": _geoseg},
        "geography": {
            "rasterio": io_versions.raster_library,
            "pyogrio": io_versions.vector_library,
            "pyproj": io_versions.projection_library,
            "environment": lambda: _environment(warnings),
        },
        "formats": {
            "raster formats": lambda: _present(io_versions.raster_drivers()),
            "vector formats": lambda: _present(io_versions.vector_drivers()),
        },
        "networks": {
            "torch": model_versions.torch_library,
            "segmentation-models-pytorch": model_versions.architectures,
            "torchgeo": model_versions.geo_architectures,
        },
        "devices": {"devices": lambda: _devices(warnings)},
        "packages": {name: _package(name) for name in PACKAGES} | {"extras": _extras},
        "models": {name: _model(name, path) for name, path in (cached() | bundled()).items()},
        "machine": {
            "processor": _processor,
            "memory": lambda: _memory(warnings),
            "disk": lambda: _disk(folder, warnings),
        },
    }


def _geoseg() -> dict[str, str]:
    return {
        "geoseg": __version__,
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": platform.platform(),
    }


def _environment(warnings: list[str]) -> dict[str, str]:
    foreign = io_versions.foreign_data()
    warnings += [
        f"{name}={value} points GDAL or PROJ to the data files of another installation; unset it if "
        "coordinates or formats go wrong"
        for name, value in foreign.items()
    ]
    return foreign


def _present(drivers: Mapping[str, bool]) -> dict[str, str]:
    return {name: "present" if there else "missing" for name, there in drivers.items()}


def _devices(warnings: list[str]) -> dict[str, str]:
    driver, found = model_versions.nvidia_driver(), model_versions.devices()
    if driver and not any(name.startswith("cuda") for name in found):
        warnings.append(
            f"NVIDIA driver {driver} is loaded, but torch sees no GPU: it is a CPU build, or needs a newer driver"
        )
    return found | {"NVIDIA driver": driver or "none"}


def _package(name: str) -> Question:
    return lambda: {name: metadata.version(name)}


def _extras() -> dict[str, str]:
    return {name: _installed(name) or "not installed (optional)" for name in EXTRAS}


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _model(name: str, path: Path) -> Question:
    def ask() -> dict[str, str]:
        spec = read_spec(path)
        size = path.stat().st_size / 1e6
        note = ", demonstration" if spec.demonstration else ""
        return {name: f"{spec.version}, {len(spec.classes)} classes, {size:.1f} MB, license {spec.license}{note}"}

    return ask


def _processor() -> dict[str, str]:
    return {f"processor {name}": value for name, value in machine.processor().items()}


def _memory(warnings: list[str]) -> dict[str, str]:
    available, total = machine.memory()
    if available < LOW_MEMORY:
        warnings.append(f"only {available / 2**30:.1f} GiB of memory available")
    return {"memory": f"{available / 2**30:.1f} GiB available of {total / 2**30:.1f}"}


def _disk(folder: Path, warnings: list[str]) -> dict[str, str]:
    free = machine.free_space(folder)
    if free < LOW_SPACE:
        warnings.append(f"only {free / 2**30:.1f} GiB free at {folder}")
    return {"disk": f"{free / 2**30:.1f} GiB free at {folder}"}
