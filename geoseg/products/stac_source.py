"""Where STAC items come from: an item file, one item of a collection of items, or the address of either.

STAC 1.0 and 1.1 (https://github.com/radiantearth/stac-spec), items of STAC APIs included. An INPUT that stands for one
item is a path or an address; `items.json#ID` is the item ID of a file that holds several.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from geoseg.errors import InputError, InputMissingError, PolicyError
from geoseg.io.web_json import LARGEST, parse_json, read_json

Document = Mapping[str, Any]
_WEB = re.compile(r"https?://\S+", re.IGNORECASE)
_SUFFIXES = (".json", ".geojson")
_FILE_AND_ID = re.compile(r"(?P<place>.+\.(?:geo)?json)#(?P<id>.+)", re.IGNORECASE | re.DOTALL)
_API_ITEM = re.compile(r".*/collections/[^/]+/items/[^/]+/?")
"""OGC API Features, part 1, 7.16: the address of a feature."""


def is_stac(text: str) -> bool:
    """True for an INPUT that is a JSON document and no raster."""
    place, _ = _parts(text)
    if not is_web(place):
        return Path(place).suffix.lower() in _SUFFIXES
    path = urlsplit(place).path
    return path.lower().endswith(_SUFFIXES) or _API_ITEM.fullmatch(path) is not None


def document_of(text: str) -> str:
    """Path or address of the document that an INPUT which `is_stac` names, or one of whose items it names."""
    return _parts(text)[0]


def item_name(text: str) -> str:
    """What an INPUT that `is_stac` is called, by the address alone."""
    place, chosen = _parts(text)
    if chosen is not None:
        return chosen
    name = unquote(PurePosixPath(urlsplit(place).path.rstrip("/")).name) if is_web(place) else Path(place).name
    return name[: -len(PurePosixPath(name).suffix)] if name.lower().endswith(_SUFFIXES) else name


def items_in(text: str) -> tuple[str, ...]:
    """INPUTs for all items of an item collection, or of a static collection or catalog; an item stands for itself.

    Raises:
        InputMissingError, InputError, PolicyError, TemporaryError: the document cannot be had, or holds no items.
    """
    place, chosen = _parts(text)
    if chosen is not None or (is_web(place) and _API_ITEM.fullmatch(urlsplit(place).path)):
        return (text,)
    document = _read(place)
    if document.get("type") == "Feature":
        return (text,)
    if document.get("type") == "FeatureCollection":
        found = tuple(f"{place}#{_id_of(item, place)}" for item in _features(document, place))
    else:
        found = tuple(resolved(link["href"], place) for link in links(document, "item"))
        if not found and links(document, "child"):
            raise InputError(f"{text} is a catalog of catalogs; name one of those that it lists.")
    if not found:
        raise InputError(f"{text} holds no STAC items; look into it, or search an API with --stac.")
    twice = next((one for one in found if found.count(one) > 1), None)
    if twice is not None:
        raise InputError(f"{text} holds two items {item_name(twice)!r}; give each an id of its own.")
    return found


def read_item(text: str) -> tuple[Document, str]:
    """An item, and the path or address that its relative addresses start from.

    Raises:
        InputMissingError, InputError, PolicyError, TemporaryError: it cannot be had, or is no STAC item.
    """
    place, chosen = _parts(text)
    document = _read(place)
    if chosen is not None:
        document = next((item for item in _features(document, place) if _id_of(item, place) == chosen), {})
        if not document:
            raise InputMissingError(f"{place} holds no item {chosen!r}.")
    kind = document.get("type")
    if kind != "Feature" or "stac_version" not in document:
        several = kind in ("FeatureCollection", "Collection", "Catalog")
        remedy = "run its items with --each" if several else "an INPUT that ends in .json is a STAC item"
        raise InputError(f"{place} is no STAC item but {kind or 'some other JSON'}; {remedy}.")
    _id_of(document, place)
    for name in ("assets", "properties"):
        if not isinstance(document.get(name), dict):
            raise InputError(f"{place}: a STAC item without {name!r}; the file is damaged.")
    return document, place


def resolved(href: object, place: str) -> str:
    """Path or address behind an `href` of a document.

    Whoever wrote a document on a server must not make this computer read its own files.

    Args:
        href: relative, absolute, `file:` or http(s); what follows `#` is dropped.
        place: of the document.

    Raises:
        InputError: another scheme, or no text.
        PolicyError: a document from a server that names a file of this computer.
    """
    if not isinstance(href, str) or not href.strip():
        raise InputError(f"{place}: an href is {href!r}, no address; the document is damaged.")
    href = href.strip().partition("#")[0]
    scheme = urlsplit(href).scheme.lower() if re.match(r"[A-Za-z][\w+.-]+:", href) else ""
    local = not is_web(place)
    if not local and (scheme == "file" or href.startswith("/vsi")):
        raise PolicyError(f"{place} names {href}, a file of this computer; a document on a server must not.")
    if scheme in {"http", "https"}:
        return href
    if scheme == "file":
        return unquote(urlsplit(href).path)
    if scheme:
        raise InputError(f"{place} names {href}, and {scheme}: is not read here; only http(s) and files are.")
    if not local:
        return urljoin(place, href)
    beside = Path(place).absolute().parent
    return str(beside / href if (beside / href).exists() else beside / unquote(href))


def is_web(text: str) -> bool:
    """True for a web address; `geoseg.io.remote`, which knows it too, would bring rasterio."""
    return _WEB.fullmatch(text) is not None


def links(document: Document, relation: str) -> list[dict[str, Any]]:
    """Links of one relation."""
    found = document.get("links")
    listed = found if isinstance(found, list) else []
    return [link for link in listed if isinstance(link, dict) and link.get("rel") == relation and link.get("href")]


def _parts(text: str) -> tuple[str, str | None]:
    """Path or address, and the id behind it."""
    found = None if Path(text).is_file() else _FILE_AND_ID.fullmatch(text)
    return (text, None) if found is None else (found["place"], found["id"])


def _read(place: str) -> Document:
    if is_web(place):
        document = read_json(place.partition("#")[0])
    else:
        try:
            status = Path(place).stat()
            document = _of_file(place, status.st_mtime_ns, status.st_size)
        except OSError as error:
            raise InputMissingError(f"input {place!r}: {error.strerror or error}.") from error
    if not isinstance(document, dict):
        raise InputError(f"{place} holds {type(document).__name__}, no STAC document.")
    return document


# A list of a thousand items is asked for each of them.
@lru_cache(maxsize=2)
def _of_file(place: str, _modified: int, size: int) -> Any:
    if size > LARGEST:
        raise PolicyError(f"{place} holds {size} bytes; at most {LARGEST} are read as STAC.")
    return parse_json(Path(place).read_bytes(), place)


def _features(document: Document, place: str) -> list[Document]:
    features = document.get("features")
    if not isinstance(features, list) or not all(isinstance(item, dict) for item in features):
        raise InputError(f"{place} is no collection of STAC items.")
    return features


def _id_of(item: Document, place: str) -> str:
    found = item.get("id")
    if not isinstance(found, str) or not found:
        raise InputError(f"{place}: an item's id is {found!r}, no text; the document is damaged.")
    return found
