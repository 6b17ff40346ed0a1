"""All keys of a training recipe with their defaults and meanings, for people: as YAML that one could fill in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, get_args

from pydantic.fields import FieldInfo

from geoseg.training.recipe import Recipe
from geoseg.training.recipe_base import Frozen

_YAML = {"None": "null", "True": "true", "False": "false"}


def recipe_keys() -> str:
    """One line a key; sections that are lists show one entry, sections that have two forms show both."""
    return "\n".join(_lines(Recipe, ""))


def _lines(model: type[Frozen], indent: str) -> Iterator[str]:
    for name, info in model.model_fields.items():
        sections = _sections(info.annotation)
        about = _as_yaml(info.description or "")
        if not sections:
            yield f"{indent}{name}: {_default(info)}{about and f'  # {about}'}"
            continue
        listed = "tuple" in str(info.annotation)
        for number, section in enumerate(sections):
            forms = f"form {number + 1} of {len(sections)}: " if len(sections) > 1 else ""
            text = about or f"{forms}{_as_yaml(section.__doc__ or '')}"
            yield f"{indent}{name}:  # {'a list; ' if listed else ''}{text}"
            inner = list(_lines(section, indent + "  " + "  " * listed))
            if listed:
                inner[0] = f"{indent}  - {inner[0].lstrip()}"
            yield from inner


def _sections(annotation: Any) -> list[type[Frozen]]:
    """The parts of a recipe that an annotation names, however it wraps them."""
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        return [annotation]
    return [section for inner in get_args(annotation) for section in _sections(inner)]


def _as_yaml(text: str) -> str:
    """A docstring in one line, in the words of YAML."""
    return re.sub(r"\b(None|True|False)\b", lambda found: _YAML[found[0]], " ".join(text.split()))


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "…"
    return json.dumps(info.get_default(call_default_factory=True), default=_plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, PurePath) else list(value)
