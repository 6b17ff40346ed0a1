"""A spec that a user writes in YAML for a network that does not say enough about itself.

    bands:                       # in the order of the input
      - {name: red, mean: 0.09, std: 0.05}
      - green                    # a name is enough where the file knows the normalization
    classes:
      - {code: 1, name: forest, color: "#006400"}
      - water                    # code: its place, 0, 1, 2, …; color: made up
    gsd_m: [10, 20]
    unit: reflectance            # or dn: stored numbers

All other keys of `geoseg.model.spec.ModelSpec` may follow. What the YAML says counts before what the file says.
"""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geoseg.classes import generated_color
from geoseg.errors import ConfigError, GeosegWarning
from geoseg.model.spec import Architecture, ModelSpec
from geoseg.strict_yaml import load_yaml

CHIP, STRIDE = 512, 32
"""Where nothing else is said: what networks of five halvings take."""
NOT_STATED = "not stated"
_ANY_DN = (-32768.0, 65535.0)
_OWN = {"schema", "architecture", "training"}
_KEYS = tuple(part.name for part in dataclasses.fields(ModelSpec) if part.name not in _OWN)


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a network's file says by itself."""

    name: str
    architecture: Architecture
    bands: int
    classes: int
    class_names: Sequence[str] = ()
    normalization: Sequence[tuple[float, float]] = ()
    """Mean and standard deviation per band; empty: the file does not say."""
    overlap: float | None = None
    """Share of a chip's side that it was made to have in common with the next; None: the file does not say."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of `ModelSpec`."""


def read_spec_yaml(path: Path, further: Sequence[str] = ()) -> dict[str, Any]:
    """The mapping of a YAML spec, its keys checked.

    Args:
        path: the file.
        further: keys that are allowed besides those of `ModelSpec`.

    Raises:
        InputMissingError: no such file.
        ConfigError: no YAML, or an unknown key.
    """
    given = load_yaml(path, "spec")
    if unknown := sorted(str(key) for key in given if key not in (*_KEYS, *further)):
        raise ConfigError(f"spec {path} has no key {', '.join(unknown)}; it knows {', '.join((*_KEYS, *further))}.")
    return given


def spec_of(path: Path, given: Mapping[str, Any], known: Known) -> ModelSpec:
    """The spec of a network; a margin that nobody gives is a quarter of a chip, with a warning.

    Args:
        path: of the YAML, for messages.
        given: what it says.
        known: what the network's file says.

    Raises:
        ConfigError: something is missing or malformed, or does not fit the network.
    """
    raw: dict[str, Any] = {"version": "1", "license": NOT_STATED, "attribution": NOT_STATED, "name": known.name}
    raw |= {"chip": CHIP, "stride": STRIDE} | dict(known.more) | dict(given)
    raw["architecture"] = dataclasses.asdict(known.architecture)
    raw["bands"] = _bands(path, given.get("bands"), known, raw.get("unit", "reflectance"))
    raw["classes"] = _classes(path, given.get("classes"), known)
    if raw.get("gsd_m") is None:
        raise ConfigError(f"spec {path} lacks gsd_m: the pixel sizes in metres that the model is made for: [10, 20].")
    gsd = raw["gsd_m"]
    raw["gsd_m"] = [float(gsd)] * 2 if isinstance(gsd, int | float) else gsd
    try:
        if "margin" not in raw:
            raw["margin"] = _margin(int(raw["chip"]), int(raw["stride"]), known.overlap)
        return ModelSpec.from_json(json.dumps(raw))
    except (ConfigError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"spec {path}: {error}") from error


def _margin(chip: int, stride: int, overlap: float | None) -> int:
    """Half of what chips were made to overlap; else a quarter of a chip, which is told to be a guess."""
    share = 0.5 if overlap is None else overlap
    margin = int(share * chip / 2) // stride * stride
    if overlap is None:
        warnings.warn(
            f"the margin of {margin} pixels is a guess; geoseg models margin SCENE -m MODEL measures it, for the spec "
            f"or --margin.",
            GeosegWarning,
            stacklevel=3,
        )
    return margin


def _bands(path: Path, rows: Any, known: Known, unit: str) -> list[dict[str, Any]]:
    """Rows of bands as `ModelSpec.from_json` takes them.

    Raises:
        ConfigError: none, too few, or without normalization.
    """
    if not isinstance(rows, list) or len(rows) != known.bands:
        had = f"names {len(rows)}" if isinstance(rows, list) else "names none"
        raise ConfigError(
            f"spec {path} {had} of the model's {known.bands} bands; list them in the order of its input, as bands: "
            f"[{{name: red, mean: 0.1, std: 0.05}}, …]."
        )
    out = []
    for place, row in enumerate(rows):
        band = dict(row) if isinstance(row, dict) else {"name": row}
        if known.normalization:
            mean, std = known.normalization[place]
            band = {"mean": mean, "std": std} | band
        if missing := [key for key in ("name", "mean", "std") if key not in band]:
            raise ConfigError(
                f"spec {path}: band {band.get('name', place + 1)} lacks {' and '.join(missing)}; the network takes "
                f"(value − mean) / std of each band."
            )
        out.append(({"plausible": _ANY_DN} if unit == "dn" else {}) | band)
    return out


def _classes(path: Path, rows: Any, known: Known) -> list[dict[str, Any]]:
    """Rows of classes as `ModelSpec.from_json` takes them.

    Raises:
        ConfigError: none, or not as many as the network answers.
    """
    rows = list(known.class_names) if rows is None else rows
    if not isinstance(rows, list) or len(rows) != known.classes:
        had = f"names {len(rows)}" if isinstance(rows, list) and rows else "names none"
        raise ConfigError(
            f"spec {path} {had} of the model's {known.classes} classes; list them in the order of its answer, as "
            f"classes: [{{code: 1, name: forest, color: '#006400'}}, …]."
        )
    out = []
    for place, row in enumerate(rows):
        land = dict(row) if isinstance(row, dict) else {"name": str(row)}
        land.setdefault("code", place)
        if "color" not in land and isinstance(land["code"], int):
            land["color"] = "#{:02x}{:02x}{:02x}".format(*generated_color(land["code"]))
        out.append(land)
    return out
