"""Templates to pages; all of them extend `templates/base.html`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import PurePath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from geoseg import __version__


def render(template: str, **values: Any) -> str:
    """A page as one HTML document without references to anything outside it.

    Texts are escaped, so that names of classes and files may hold anything.

    Args:
        template: name in `templates`.
        values: what it shows.
    """
    return _environment().get_template(template).render(version=__version__, **values)


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
    return environment
