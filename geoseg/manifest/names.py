"""How scenes are called that have no name of their own."""

from __future__ import annotations

import re
from pathlib import Path

from geoseg.errors import ConfigError, without_secrets
from geoseg.products.stac_source import is_stac, item_name
from geoseg.products.tree import product_stem


def stem_of(path: str) -> str:
    """What results are called after this input: a STAC item's or product's own name, a file's stem."""
    if is_stac(path):
        return item_name(path)
    path = without_secrets(path)
    name = Path(path).name
    product = product_stem(name)
    return product if product != name or Path(path).is_dir() else Path(name).stem


def from_pattern(pattern: str, **fields: object) -> str:
    """`{parent}_{stem}` with its fields filled in.

    Raises:
        ConfigError: it has other fields, or is no pattern.
    """
    try:
        return pattern.format_map(fields)
    except (LookupError, ValueError, AttributeError) as error:
        known = ", ".join(f"{{{name}}}" for name in fields)
        raise ConfigError(f"pattern {pattern!r} cannot be filled in ({error}); its fields are {known}.") from error


def usable(text: str) -> str:
    """The text with `_` for what no file name may hold."""
    return re.sub(r"[/\\:;!\x00-\x1f]", "_", text.strip())
