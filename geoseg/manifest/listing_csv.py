"""Manifests as a table: one row a scene, one column a setting.

    input,name,read.bands,vector.mmu
    north/scene.tif,north,"red=3,nir=4",0.5ha
    s2_10m.tif;s2_20m.tif,virginia,,

Several inputs of a scene are separated by `;`. An empty cell means the default.
"""

from __future__ import annotations

import csv
from dataclasses import fields
from pathlib import Path

from geoseg.errors import ConfigError, InputMissingError
from geoseg.manifest.entry import Entry, Listing
from geoseg.settings import RunSettings
from geoseg.spelling import nearest

_OWN = ("input", "name", "min_clear")


def read_csv(path: Path) -> Listing:
    """Entries of a CSV manifest (RFC 4180, UTF-8, with or without byte order mark).

    Raises:
        InputMissingError: no such file.
        ConfigError: an unknown column, a row without input, a row of another length.
    """
    known = [*_OWN, *_settings()]
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            columns = [name.strip() for name in next(rows, [])]
            _check_columns(columns, known, path)
            entries = [_entry(columns, row, f"manifest {path}: line {rows.line_num}") for row in rows if any(row)]
    except OSError as error:
        raise InputMissingError(f"manifest {path}: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"manifest {path} is no CSV file in UTF-8 ({error}).") from error
    if not entries:
        raise ConfigError(f"manifest {path} lists no scene below its header.")
    return Listing(entries=entries)


def _settings() -> list[str]:
    sections = {name: value for name, value in vars(RunSettings()).items() if name != "output"}
    return [f"{section}.{field.name}" for section, value in sections.items() for field in fields(value)]


def _check_columns(columns: list[str], known: list[str], path: Path) -> None:
    if "input" not in columns:
        raise ConfigError(f"manifest {path}: its first line must name the columns, one of them 'input'.")
    for name in columns:
        if name not in known:
            raise ConfigError(f"manifest {path}: unknown column {name!r}{nearest(name, known)}")
        if columns.count(name) > 1:
            raise ConfigError(f"manifest {path}: column {name!r} occurs twice.")


def _entry(columns: list[str], row: list[str], where: str) -> Entry:
    if len(row) != len(columns):
        raise ConfigError(f"{where} has {len(row)} cells, the header {len(columns)}; quote cells that hold commas.")
    cells = {name: cell.strip() for name, cell in zip(columns, row, strict=True) if cell.strip()}
    inputs = tuple(part.strip() for part in cells.get("input", "").split(";") if part.strip())
    if not inputs:
        raise ConfigError(f"{where} has no input.")
    settings: dict[str, dict[str, str]] = {}
    for name, cell in cells.items():
        section, dot, key = name.partition(".")
        if dot:
            settings.setdefault(section, {})[key] = cell
    return Entry(
        inputs=inputs, where=where, settings=settings, name=cells.get("name"), min_clear=cells.get("min_clear")
    )
