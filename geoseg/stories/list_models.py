"""What models are at hand or to be had, what each takes and answers, and what may be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import ConfigError
from geoseg.model.file import bundled, cached, read_spec
from geoseg.model.licenses import commercial_use_of
from geoseg.model.published import PUBLISHED
from geoseg.model.spec import ModelSpec
from geoseg.stories.import_model import contract

Row = dict[str, Any]
_MANY = 9
"""From so many classes on, the list tells their number."""


@dataclass(frozen=True)
class ModelList:
    """Rows as JSON tells them, sorted by name."""

    here: tuple[Row, ...]
    """Bundled ones and those in the cache."""
    published: tuple[Row, ...]
    """All that `pull` knows; `here` says whether they were pulled."""

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dicts."""
        absent = [row["name"] for row in self.published if not row["here"]]
        return {"models": list(self.here), "to_pull": absent, "published": list(self.published)}

    def lines(self) -> list[str]:
        """For people: two lines a model, first those at hand, and how to get the others."""
        absent = [row for row in self.published if not row["here"]]
        told = [line for row in (*self.here, *absent) for line in _lines(row)]
        return told + ["geoseg models pull NAME fetches what is not here yet"] * bool(absent)


def list_models() -> ModelList:
    """Look at the bundled models, the cache and the table of published ones; nothing is asked of the network."""
    places = {"cache": cached(), "bundled": bundled()}
    here = {name: _at_hand(name, path, where) for where, found in places.items() for name, path in found.items()}
    published = (_published(name, here=name in here) for name in sorted(PUBLISHED))
    return ModelList(tuple(here[name] for name in sorted(here)), tuple(published))


def _at_hand(name: str, path: Path, where: str) -> Row:
    """A damaged file in the cache must not hide the others."""
    try:
        facts = _facts(read_spec(path))
    except ConfigError as error:
        facts = {"error": " ".join(str(error).split())}
    return {"name": name} | facts | {"where": where, "path": str(path), "megabytes": path.stat().st_size / 1e6}


def _published(name: str, *, here: bool) -> Row:
    source = PUBLISHED[name]
    urls = [f"{source.base}/{file}" for file in source.files]
    known = {"megabytes": source.megabytes, "checksum": source.checksum, "urls": urls, "here": here}
    return {"name": name} | _facts(contract(name)) | known


def _facts(spec: ModelSpec) -> Row:
    use = commercial_use_of(spec)
    return {
        "version": spec.version,
        "license": spec.license,
        "commercial_use": use.answer,
        "commercial_use_because": use.reason,
        "bands": list(spec.band_names),
        "unit": spec.unit,
        "gsd_m": list(spec.gsd_m),
        "chip": spec.chip,
        "classes": list(spec.classes.names),
    }


def _lines(row: Row) -> list[str]:
    if "error" in row:
        return [f"{row['name']:<20} {row['error']}"]
    use = f"commercial use: {row['commercial_use']}"
    if row["commercial_use"] != "yes":
        use += f" ({row['commercial_use_because']})"
    return [
        f"{row['name']:<20} {row['version']:<8} {row['license']:<12} {use}, {_where(row)}",
        f"{'':<4}{_input(row)}",
    ]


def _where(row: Row) -> str:
    if "where" in row:
        return "bundled" if row["where"] == "bundled" else str(row["path"])
    return "not here yet" if row["checksum"] else "not here yet, checksum not published: pull it with --sha256"


def _input(row: Row) -> str:
    low, high = row["gsd_m"]
    sizes = f"{low:g}" if low == high else f"{low:g}…{high:g}"
    classes: Sequence[str] = row["classes"]
    told = ", ".join(classes) if len(classes) < _MANY else f"{len(classes)} classes"
    return f"{' '.join(row['bands'])}, {row['unit']}, {sizes} m → {told}; {row['megabytes']:.1f} MB"
