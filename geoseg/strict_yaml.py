"""YAML without surprises: nothing is built from tags, doubled keys are errors with their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from geoseg.errors import ConfigError, InputMissingError


class _StrictLoader(yaml.SafeLoader):
    """YAML without tags that build objects, and without silently doubled keys."""


def _mapping(loader: _StrictLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[str] = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key must be plain text", key_node.start_mark)
        key = key_node.value
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} occurs twice", key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=deep)


# A date stays the text that was written: what it means is the reader's business.
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_yaml(path: Path, what: str) -> dict[str, Any]:
    """A YAML file's mapping; an empty file is an empty mapping.

    Args:
        path: the file, UTF-8.
        what: what errors call it: settings, recipe.

    Raises:
        InputMissingError: no such file.
        ConfigError: not YAML, a doubled key, or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputMissingError(f"{what} {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{what} {path} is not UTF-8 text ({error}).") from error
    try:
        loaded = yaml.load(text, _StrictLoader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{what} {path}: {' '.join(str(error).split())}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"{what} {path} must be a mapping of keys to values, not {type(loaded).__name__}.")
    return loaded


def yaml_text(content: dict[str, Any]) -> str:
    """A mapping as YAML that `load_yaml` reads: keys in their order, short lists on one line."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


class _Dumper(yaml.SafeDumper):
    """YAML without anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 (PyYAML's)
        return True
