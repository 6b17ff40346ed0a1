"""Legends from files: YAML, CSV, QGIS styles, color tables, class rasters, and the ones that come with geoseg."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from geoseg.classes import Color, parse_color, placeholder
from geoseg.errors import ConfigError, InputError, InputMissingError
from geoseg.io.class_raster import open_class_raster
from geoseg.io.legend import whole
from geoseg.io.legend_qml import qml_entries
from geoseg.legend import Entry, Legend
from geoseg.shipped import shipped
from geoseg.strict_yaml import load_yaml

MAX_BYTES = 16 * 2**20
"""Larger texts are no legends."""

_SHIPPED = re.compile(r"[A-Za-z0-9_-]+")
_KEYS = {"code", "name", "color", "group", "thing", "from"}
_COLUMNS = {
    "code": "code",
    "value": "code",
    "class_id": "code",
    "name": "name",
    "label": "name",
    "class_name": "name",
    "color": "color",
    "colour": "color",
    "group": "group",
    "from": "from",
    "red": "r",
    "green": "g",
    "blue": "b",
    "r": "r",
    "g": "g",
    "b": "b",
}


def read_legend_file(path: Path | str) -> Legend:
    """Read a legend from whatever carries one.

    A word without suffix and folder is a legend that comes with geoseg (`worldcover`); `./worldcover` is a file.
    `.yaml` and `.yml`, `.csv`, `.qml` (raster palette, or polygons categorized by code), `.clr` and `.txt` (ESRI's
    and QGIS' color tables) are read as such, anything else as a class raster whose tables, names and palette count.
    `A+B` puts B onto what A makes of the classes: `worldcover+corine1` names bare codes first.

    Args:
        path: file, shipped name, or several joined by `+`.

    Raises:
        InputMissingError: no such file or shipped legend.
        ConfigError: the file is no legend; the message names file, row and value.
    """
    text = str(path)
    if "+" not in text or Path(text).exists():
        return _read(text)
    first, *others = (_read(part.strip()) for part in text.split("+"))
    for other in others:
        first = replace(other, first=first)
    return first


def _read(text: str) -> Legend:
    if _SHIPPED.fullmatch(text):
        return Legend.of(_yaml_entries(_shipped_file(text)), text)
    path = Path(text)
    if not path.is_file():
        known = ", ".join(_shipped_names())
        raise InputMissingError(f"legend {text!r} is no file, nor one that comes with geoseg ({known}).")
    suffix = path.suffix.lower()
    entries = _READERS[suffix](path) if suffix in _READERS else _raster_entries(path)
    return Legend.of(entries, path.name)


def _shipped_names() -> list[str]:
    return sorted(path.stem for path in shipped("classes").glob("*.yaml"))


def _shipped_file(name: str) -> Path:
    path = shipped("classes") / f"{name}.yaml"
    if not path.is_file():
        raise InputMissingError(
            f"legend {name!r} does not come with geoseg, which has {', '.join(_shipped_names())}; "
            f"a file of that name is given as ./{name}."
        )
    return path


def _yaml_entries(path: Path) -> list[Entry]:
    _sized(path)
    content = load_yaml(path, "legend")
    rows = content.pop("classes", None)
    if content:
        raise ConfigError(f"legend {path}: key {next(iter(content))!r} is unknown; a legend has one key, classes.")
    if not isinstance(rows, list) or not rows:
        raise ConfigError(f"legend {path}: classes must be a list of classes, not {rows!r}.")
    return [_yaml_entry(row, f"legend {path}, class {number} of the list") for number, row in enumerate(rows, 1)]


def _yaml_entry(row: Any, where: str) -> Entry:
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: {row!r} is no mapping such as {{code: 1, name: Forest}}.")
    unknown = [key for key in row if key not in _KEYS]
    if unknown:
        raise ConfigError(f"{where}: key {unknown[0]!r} is unknown; known are code, name, color, group, thing, from.")
    if "color" in row and row["color"] is None:
        raise ConfigError(f'{where}: color is empty; YAML takes #… for a comment: write color: "#006400".')
    sources = row.get("from", [])
    sources = sources if isinstance(sources, list) else [sources]
    return Entry(
        code=_code(row.get("code"), where),
        name=_word(row.get("name", ""), where, "name"),
        color=_yaml_color(row["color"], where) if "color" in row else None,
        group=_word(row.get("group", ""), where, "group"),
        thing=_thing(row["thing"], where) if "thing" in row else None,
        sources=tuple(_word(source, where, "from") for source in sources),
    )


def _thing(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{where}: thing {value!r} is neither true nor false.")
    return value


def _yaml_color(value: Any, where: str) -> Color:
    if isinstance(value, list) and len(value) == 3:
        return _rgb(value, where)
    return _hex(str(value), where)


def _word(value: Any, where: str, key: str) -> str:
    """Text or a number; YAML makes other things of words such as `no`."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ConfigError(f'{where}: {key} {value!r} is not text; put it in quotes: "…".')
    return str(value).strip()


def _csv_entries(path: Path) -> list[Entry]:
    text = _text(path)
    header = text.partition("\n")[0]
    lines = csv.DictReader(StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    try:
        columns = _csv_columns(lines.fieldnames or (), path)
        rows = [(lines.line_num, row) for row in lines]
    except csv.Error as error:
        raise ConfigError(f"legend {path} after line {lines.line_num}: {error}.") from error
    entries = []
    for number, row in rows:
        where = f"legend {path} line {number}"
        if None in row or None in row.values():
            raise ConfigError(f"{where} has not {len(columns)} cells as the header has; quote cells with a separator.")
        cells = {columns[column]: cell.strip() for column, cell in row.items()}
        if any(cells.values()):
            entries.append(_csv_entry(cells, where))
    return entries


def _csv_columns(header: Any, path: Path) -> dict[str, str]:
    """Column of the file → what it is."""
    columns = {column: _COLUMNS.get(column.strip().lower(), "") for column in header}
    unknown = [column for column, known in columns.items() if not known]
    if unknown:
        raise ConfigError(
            f"legend {path}: column {unknown[0]!r} is unknown; known are code, name, color (or r, g, b), group, from."
        )
    if "code" not in columns.values() or len(set(columns.values())) < len(header):
        raise ConfigError(f"legend {path}: columns {', '.join(header)} must have one code, and none of them twice.")
    return columns


def _csv_entry(cells: Mapping[str, str], where: str) -> Entry:
    color = _hex(cells["color"], where) if cells.get("color") else None
    parts = [cells.get(part, "") for part in "rgb"]
    return Entry(
        code=_code(cells["code"], where),
        name=cells.get("name", ""),
        color=_rgb(parts, where) if any(parts) else color,
        group=cells.get("group", ""),
        sources=tuple(word for part in cells.get("from", "").split("|") if (word := part.strip())),
    )


def _clr_entries(path: Path) -> Iterator[Entry]:
    """`value red green blue [alpha] [name]`, by blanks (ESRI) or commas (QGIS' export, whose two first lines go)."""
    for number, raw in enumerate(_text(path).splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith(("#", "INTERPOLATION")):
            continue
        where = f"legend {path} line {number}"
        value, *rest = re.split(r"\s*,\s*|\s+", line, maxsplit=4)
        if len(rest) < 3:
            raise ConfigError(f"{where}: {line!r} is not of the form value red green blue [alpha] [name].")
        alpha = re.match(r"\d{1,3}(?:\s*,\s*|\s+|$)", rest[3]) if len(rest) > 3 else None
        name = rest[3][alpha.end() if alpha else 0 :] if len(rest) > 3 else ""
        yield Entry(_code(value, where), "" if name == value else name, _rgb(rest[:3], where))


def _raster_entries(path: Path) -> Iterator[Entry]:
    try:
        scheme = open_class_raster(path).scheme
    except InputError as error:
        raise ConfigError(
            f"legend {path} is no class raster, nor does its suffix say {', '.join(_READERS)}: {error}"
        ) from error
    for c in scheme.classes:
        yield Entry(c.code, "" if c.name == placeholder(c.code) else c.name, c.color, c.group)


def _text(path: Path) -> str:
    _sized(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputMissingError(f"legend {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"legend {path} is not UTF-8 text ({error}); save it as UTF-8.") from error


def _sized(path: Path) -> None:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ConfigError(f"legend {path} has {size} bytes; a legend has at most {MAX_BYTES}.")


def _code(value: Any, where: str) -> int:
    code = None if isinstance(value, bool) else whole(str(value))
    if code is None:
        raise ConfigError(f"{where}: code {value!r} is no whole number.")
    return code


def _hex(text: str, where: str) -> Color:
    try:
        return parse_color(text)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _rgb(parts: list[Any], where: str) -> Color:
    numbers = [whole(str(part)) for part in parts]
    red, green, blue = (-1 if number is None else number for number in numbers)
    if not all(0 <= number <= 255 for number in (red, green, blue)):
        raise ConfigError(f"{where}: color {', '.join(map(str, parts))} is not three whole numbers 0…255.")
    return red, green, blue


def _qml_entries(path: Path) -> list[Entry]:
    return qml_entries(_text(path), str(path))


_READERS: dict[str, Callable[[Path], Any]] = {
    ".yaml": _yaml_entries,
    ".yml": _yaml_entries,
    ".csv": _csv_entries,
    ".qml": _qml_entries,
    ".clr": _clr_entries,
    ".txt": _clr_entries,
}
