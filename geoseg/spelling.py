"""How settings may be spelled: lists, numbers, sizes; the base of all settings classes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, get_args

from geoseg.errors import UsageError

_SHOWN = 12
"""Known words that a message lists."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?b)", re.IGNORECASE)
_NO_STEM = re.compile(r"[/\\:;!\x00-\x1f]|^\s")
_UNITS = {f"{p}{b}": k**n for n, p in enumerate("kmgt", 1) for b, k in (("b", 1000), ("ib", 1024))}


class Strict:
    """Tells pydantic, where it reads YAML into a settings class, to refuse unknown keys; `nodata: 0` is text."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "coerce_numbers_to_str": True}

    def _take(self, name: str, convert: Callable[[Any], Any]) -> None:
        """Let callers write "trees" for ("trees",) and "a.gpkg" for Path("a.gpkg"), as on the command line."""
        object.__setattr__(self, name, convert(getattr(self, name)))

    def _check(self, name: str, type_: Any) -> None:
        """Refuse what the field's own Literal does not name."""
        value, known = getattr(self, name), get_args(type_)
        if value is not None and value not in known:
            raise UsageError(f"--{name.replace('_', '-')} {value!r} is not one of {', '.join(map(str, known))}.")


def words(value: Any) -> tuple[str, ...]:
    """`a,b` or a list → stripped words, without empty ones."""
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(word for part in parts if (word := str(part).strip()))


def texts(value: Any) -> tuple[str, ...]:
    """One text or several, as they are."""
    return (value,) if isinstance(value, str) else tuple(map(str, value))


def numbers(value: Any) -> tuple[float, ...]:
    """One number or several."""
    return (float(value),) if isinstance(value, int | float) else tuple(map(float, value))


def is_number(text: str) -> bool:
    """True for what `float` reads."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def bytes_of(text: str) -> int:
    """Bytes that `4GB`, `500MB` or `2GiB` are.

    Raises:
        UsageError: it is no size, or none at all.
    """
    found = _SIZE.fullmatch(text.strip())
    size = int(float(found[1]) * _UNITS[found[2].lower()]) if found else 0
    if size < 1:
        raise UsageError(f"--max-memory {text!r} is no size: write it as 4GB, 500MB or 2GiB.")
    return size


def share_of(value: object, name: str) -> float:
    """`30%` or 0.3 → 0.3.

    Args:
        value: as given.
        name: of the setting, for the message.

    Raises:
        UsageError: it is no share, 0 to 1.
    """
    text = str(value).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise UsageError(f"{name} {text!r} is no share: write it as 30% or 0.3.")
    return share


def path(value: Any) -> Path | None:
    """A path, or None."""
    return None if value is None else Path(value)


def is_stem(name: str) -> bool:
    """Whether output files can be called so.

    pyogrio takes ";" and "!" for parts of a URI and would write somewhere else; GDAL drops leading blanks.
    """
    return bool(name) and name not in {".", ".."} and _NO_STEM.search(name) is None


def nearest(word: str, known: Sequence[str]) -> str:
    """How a message goes on about a word that is not known: `; did you mean 'water'?`, else what is known."""
    folded = {" ".join(name.replace("_", " ").casefold().split()): name for name in reversed(known)}
    close = get_close_matches(" ".join(word.replace("_", " ").casefold().split()), folded, 1, 0.6)
    if close:
        return f"; did you mean {folded[close[0]]!r}?"
    return f"; it has {', '.join(known[:_SHOWN])}{' …' if len(known) > _SHOWN else ''}"
