"""STAC items of small rasters, as catalogs write them, and a STAC API on 127.0.0.1 that finds them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from loopback import Reply, Site, ranged, reply, site

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
CONFORMS = [
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
]
TAKEN = "2023-06-15T15:58:21Z"


def asset(href: str, **more: Any) -> dict[str, Any]:
    """An asset of pixels."""
    return {"href": href, "type": COG, "roles": ["data"]} | more


def eo_asset(href: str, name: str, common: str, **stated: Any) -> dict[str, Any]:
    """One band as STAC 1.0 catalogs describe it: eo:bands, and raster:bands where anything is stated."""
    rasters = {"raster:bands": [stated]} if stated else {}
    return asset(href, **{"eo:bands": [{"name": name, "common_name": common}]}, **rasters)


def item(
    name: str, assets: Mapping[str, Any], *, collection: str = "tests", version: str = "1.0.0", **properties: Any
) -> dict[str, Any]:
    """An item; properties as `eo__cloud_cover` for `eo:cloud_cover`."""
    told = {key.replace("__", ":"): value for key, value in properties.items()}
    return {
        "type": "Feature",
        "stac_version": version,
        "id": name,
        "collection": collection,
        "geometry": None,
        "properties": {"datetime": TAKEN} | told,
        "links": [],
        "assets": dict(assets),
    }


def write_item(folder: Path, content: Mapping[str, Any], name: str = "item.json") -> Path:
    """The item as a file."""
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def as_json(content: Any, status: int = 200) -> Reply:
    """A JSON answer."""
    return reply(json.dumps(content).encode(), status, {"Content-Type": "application/geo+json"})


@contextmanager
def api(items: Sequence[Mapping[str, Any]], files: Mapping[str, bytes], *, page: int = 2) -> Iterator[Site]:
    """A STAC API with GET search in pages; assets' addresses are relative to `/files/`.

    It understands `collections`, and of `datetime` nothing: what it finds it finds.
    """
    with site({f"/files/{name}": ranged(body, etag=f'"{name}"') for name, body in files.items()}) as server:
        for one in items:
            server.replies[f"/collections/{one['collection']}/items/{one['id']}"] = as_json(one)
        server.replies["/"] = as_json(_landing(server.url))
        server.replies["/search"] = _search(server, items, page)
        yield server


def _landing(url: str) -> dict[str, Any]:
    return {
        "type": "Catalog",
        "id": "loopback",
        "stac_version": "1.0.0",
        "description": "items of a test",
        "conformsTo": CONFORMS,
        "links": [
            {"rel": "self", "href": url, "type": "application/json"},
            {"rel": "root", "href": url, "type": "application/json"},
            {"rel": "search", "href": f"{url}/search", "type": "application/geo+json", "method": "GET"},
        ],
    }


def _search(server: Site, items: Sequence[Mapping[str, Any]], page: int) -> Reply:
    def send(handler: Any) -> None:
        asked = {key: values[0] for key, values in parse_qs(urlsplit(handler.path).query).items()}
        first = int(asked.get("token", 0))
        wanted = [one for one in items if one["collection"] in asked["collections"].split(",")]
        links = []
        if first + page < len(wanted):
            again = urlencode(asked | {"token": first + page})
            links = [{"rel": "next", "href": f"{server.url}/search?{again}", "method": "GET"}]
        features = wanted[first : first + page]
        as_json({"type": "FeatureCollection", "features": features, "links": links})(handler)

    return send


SIGNED: list[str] = []
"""What the hook was asked for."""


def sign(href: str) -> str:
    """The hook `stac_kit:sign`: each signature is another one."""
    SIGNED.append(href)
    return f"{href}?sig=CANARY-{len(SIGNED)}"


def sign_nothing(href: str) -> None:
    """A hook that gives no address."""


def sign_later(href: str) -> str:
    """A hook whose server does not answer."""
    raise ConnectionError(f"no answer for {href}?sig=CANARY")
