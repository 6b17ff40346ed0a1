"""Questions before work: what is this raster, does it fit a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import ConfigError, InputError
from geoseg.io.border import constant_border
from geoseg.io.compose import opened
from geoseg.io.raster import RasterFile
from geoseg.io.scene import Scene, path_name
from geoseg.model.file import find_model
from geoseg.settings import ReadSettings
from geoseg.stories.mosaic_facts import describe_radiometry, mosaic_json
from geoseg.stories.prepare import crs_name, fit_scene, grid_json, together

ONE_STRIP = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class InfoReport:
    """What `info` found out."""

    files: tuple[RasterFile, ...]
    scene: Scene
    proposals: tuple[str, ...]
    """Flags that would probably help."""
    model: str | None = None
    misfit: str | None = None
    """Why the scene does not fit the model; None: it does, or no model was asked about."""
    warnings: tuple[str, ...] = ()
    values: tuple[dict[str, Any], ...] = ()
    """Per band: name, p1, p50, p99 of reflectance, share of implausible values."""

    @property
    def fits(self) -> bool | None:
        """Whether the model can be run; None without a model."""
        return None if self.model is None else self.misfit is None

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dicts."""
        return {
            "files": [_file_json(file) for file in self.files],
            "grid": grid_json(self.scene.grid) | {"gsd_m": self.scene.grid.gsd_m},
            "bands": [
                {"name": b.name, "file": b.path or None, "index": b.index, "scale": b.scale, "offset": b.offset}
                | {"validity": b.validity.describe(), "resampled": b.warped}
                for b in self.scene.bands
            ],
            "sensor": self.scene.sensor,
            "scene_id": self.scene.scene_id,
            "datetime": None if self.scene.acquired is None else self.scene.acquired.text,
            "mosaic": None if self.scene.mosaic is None else mosaic_json(self.scene.mosaic),
            "masks": [{"file": m.path, "rule": m.rule, "reasons": list(m.reasons)} for m in self.scene.masks],
            "radiometry": self.scene.radiometry,
            "notes": list(self.scene.remarks),
            "proposals": list(self.proposals),
            "model": self.model,
            "fits": self.fits,
            "misfit": self.misfit,
            "warnings": list(self.warnings),
            "values": list(self.values),
        }

    def lines(self) -> list[str]:
        """For people."""
        scene, grid = self.scene, self.scene.grid
        out = []
        for file in self.files:
            out.append(f"{file.path}")
            out.append(
                f"  {file.driver}, {file.grid.width} × {file.grid.height}, {file.count} bands of {file.dtypes[0]}"
            )
            out.append(f"  {crs_name(file.grid)}, pixels of {file.grid.gsd_m:.4g} m")
            out.append(f"  stored in blocks of {file.block_shape[1]} × {file.block_shape[0]}")
        out.append(f"scene: {grid.width} × {grid.height} = {grid.width * grid.height / 1e6:.2f} Mpx")
        for band in () if scene.mosaic is not None else scene.bands:
            what = f"reflectance = DN·{band.scale:g} {band.offset:+g}" if scene.radiometry != "none" else "as stored"
            place = f"{path_name(band.path)}:{band.index}"
            out.append(f"  {band.name:<10} {place}  {band.dtype}, {what}, {band.validity.describe()}")
        if scene.mosaic is not None:
            out += [f"  {line}" for line in (", ".join(scene.names), *describe_radiometry(scene))]
        if scene.acquired is not None:
            out.append(f"  taken {scene.acquired.text}")
        out += [f"note: {note}" for note in scene.remarks]
        out += [f"hint: {proposal}" for proposal in self.proposals]
        for value in self.values:
            out.append(f"  {value['name']:<10} p1 {value['p1']:.4f}   p50 {value['p50']:.4f}   p99 {value['p99']:.4f}")
        out += [f"warning: {warning}" for warning in self.warnings]
        if self.model is not None:
            out.append(f"model {self.model}: {'fits' if self.fits else 'does not fit: ' + str(self.misfit)}")
        return out


def info(inputs: Sequence[str | Path], settings: ReadSettings | None = None, model: str | None = None) -> InfoReport:
    """Describe rasters and say whether they fit a model.

    Args:
        inputs: rasters of one scene.
        settings: how to read them.
        model: bundled name or model file; None: do not ask.

    Raises:
        GeosegError: the files cannot be used at all.
    """
    settings = settings or ReadSettings()
    paths = together(inputs, settings)
    files, scene = opened(paths, settings)
    proposals = tuple(_proposals(files, scene))
    if model is None:
        return InfoReport(files=files, scene=scene, proposals=proposals)
    ref = find_model(model)
    name = f"{ref.spec.name} {ref.spec.version}"
    try:
        fit = fit_scene(scene, ref)
    except (ConfigError, InputError) as error:
        return InfoReport(files=files, scene=scene, proposals=proposals, model=name, misfit=str(error))
    values = tuple(asdict(sample) for sample in fit.samples)
    return InfoReport(files=files, scene=scene, proposals=proposals, model=name, warnings=fit.warnings, values=values)


def _proposals(files: Sequence[RasterFile], scene: Scene) -> list[str]:
    found = []
    border = constant_border(scene) if scene.collar is None else None
    if border is not None:
        value, share = border
        flag = f"--collar {value:g}" if value in {0.0, 255.0} else f"--nodata {value:g}"
        found.append(f"{share:.0%} of the border is {value:g} in every band; if that is no image, pass {flag}")
    for file in files:
        rows, cols = file.block_shape
        if rows > 1 and cols == file.grid.width and rows * cols > ONE_STRIP:
            found.append(
                f"{path_name(file.path)} is stored in huge strips; gdal_translate -of COG makes reading faster"
            )
    return found


def _file_json(file: RasterFile) -> dict[str, Any]:
    grid = grid_json(file.grid) | {"gsd_m": file.grid.gsd_m}
    facts = {k: v for k, v in _fields(file).items() if k not in {"grid", "notes"}}
    return facts | {"grid": grid}


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
