"""Templates to pages; all of them extend `templates/base.html`."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from geoseg import __version__
from geoseg.console import format_hectares, format_share


@dataclass(frozen=True)
class Script:
    """A program inside a page."""

    text: str
    digest: str
    """What a Content-Security-Policy calls it by: with `script-src` of nothing else no other program runs."""


def render(template: str, **values: Any) -> str:
    """A page as one HTML document without references to anything outside it.

    Texts are escaped, so that names of classes and files may hold anything.

    Args:
        template: name in `templates`.
        values: what it shows.
    """
    return _environment().get_template(template).render(version=__version__, **values)


def script(name: str) -> Script:
    """A program of `templates`.

    Args:
        name: of its file.
    """
    text = (resources.files("geoseg.report") / "templates" / name).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return Script(text, f"sha256-{digest}")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("geoseg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = lambda value: "–" if value is None else f"{value:.3f}"
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.1f} %"
    environment.filters["file_name"] = lambda path: PurePath(path).name
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["hectares"] = format_hectares
    environment.filters["share"] = format_share
    environment.filters["link"] = lambda name: f"./{quote(name)}"
    return environment
