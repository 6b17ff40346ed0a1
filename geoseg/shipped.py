"""Where the YAML files lie that come with geoseg: in an installed package, or in a checkout beside it."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped(kind: str) -> Path:
    """Folder of shipped YAML files, such as `sensors` or `classes`.

    A wheel carries the repository's `configs/` inside the package; a checkout has it beside the package.

    Raises:
        FileNotFoundError: geoseg was installed without it.
    """
    for home in (_PACKAGE / "configs", _PACKAGE.parent / "configs"):
        if (home / kind).is_dir():
            return home / kind
    raise FileNotFoundError(f"geoseg was installed without its configs/{kind}; install it again.")
