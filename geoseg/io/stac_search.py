"""Searches of STAC APIs (https://github.com/radiantearth/stac-api-spec, 1.0, item search): which items there are."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from geoseg.errors import (
    DeviceError,
    GeosegError,
    InputError,
    InputMissingError,
    PolicyError,
    TemporaryError,
    UsageError,
)
from geoseg.io import ranges
from geoseg.io.fetch import check_url
from geoseg.products.stac_source import is_stac, is_web, links

MOST_ITEMS = 10_000
"""More are no search but a mistake, or a server whose pages never end."""
PAGE = 100
_INSTANT = r"(?:\d{4}(?:-\d\d(?:-\d\d(?:[T ]\S+)?)?)?)"
_DATETIME = re.compile(rf"{_INSTANT}(?:/(?:{_INSTANT}|\.\.))?|\.\./{_INSTANT}")


@dataclass(frozen=True, kw_only=True)
class StacSearch:
    """What to look for."""

    url: str
    """Address of the API (its landing page)."""
    collections: tuple[str, ...]
    bbox: tuple[float, ...] | None = None
    """West, south, east, north in degrees (WGS 84); west > east crosses the antimeridian."""
    datetime: str | None = None
    """An instant, a day, or `FIRST/LAST`, either of which may be `..`."""
    max_cloud: float | None = None
    """Percent of `eo:cloud_cover`; items that do not tell it are left out then."""

    def __post_init__(self) -> None:
        check_url(self.url)
        if not self.collections:
            raise UsageError(f"--stac {self.url}: say which collection (--collection sentinel-2-l2a).")
        if self.bbox is not None:
            _check_bbox(self.bbox)
        if self.datetime is not None and not _DATETIME.fullmatch(self.datetime):
            raise UsageError(
                f"--datetime {self.datetime!r} is no time to search by; write 2023-06-15 or 2023-06-01/2023-06-30."
            )
        if self.max_cloud is not None and not 0 <= self.max_cloud <= 100:
            raise UsageError(f"--max-cloud {self.max_cloud:g} must be percent, 0 to 100.")


@dataclass(frozen=True, kw_only=True)
class FoundItem:
    """One item of a search."""

    id: str
    href: str
    """Where it stands: an INPUT of `geoseg run`."""
    taken: str | None
    """`datetime`, or `start_datetime`, as the item has it."""
    cloud: float | None
    """Percent."""

    @property
    def line(self) -> str:
        """For people."""
        cloud = "" if self.cloud is None else f", cloud {self.cloud:.3g} %"
        return f"{self.id} ({self.taken or 'no date'}{cloud})"


def _check_bbox(bbox: tuple[float, ...]) -> None:
    told = ",".join(f"{number:g}" for number in bbox)
    if len(bbox) != 4 or not all(map(math.isfinite, bbox)):
        raise UsageError(f"--bbox {told} must be four numbers: west,south,east,north in degrees.")
    west, south, east, north = bbox
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise UsageError(f"--bbox {told} must be west,south,east,north in degrees, south below north.")


def search_items(asked: StacSearch) -> list[FoundItem]:
    """All items that match, oldest first.

    Raises:
        DeviceError: pystac-client is not installed.
        InputMissingError: there is no such API, or nothing matches.
        InputError: what answers is no STAC API.
        PolicyError: it refuses, or finds more than `MOST_ITEMS`.
        TemporaryError: it fails after several tries.
    """
    found = ranges.patiently(lambda: _searched(asked), asked.url)
    if not found:
        raise InputMissingError(f"{asked.url} holds no item that matches; widen --bbox, --datetime or --max-cloud.")
    return sorted(found, key=lambda item: (item.taken or "", item.id))


def _searched(asked: StacSearch) -> list[FoundItem]:
    try:
        from pystac_client import Client
        from pystac_client.exceptions import APIError
    except ImportError as error:
        raise DeviceError(f"--stac needs {error.name}: pip install 'geoseg[stac]'.") from error
    logging.getLogger("pystac_client").setLevel(logging.WARNING)  # its debug lines hold whole requests
    try:
        client = Client.open(asked.url, timeout=ranges.PATIENCE.silence_s)
        return list(_found(client, asked))
    except APIError as error:
        raise _refusal(asked.url, error) from error
    except GeosegError:
        raise
    except Exception as error:  # pystac and pystac-client have a dozen kinds for documents that are none
        raise InputError(
            f"{asked.url} is no STAC API with item search ({type(error).__name__}); give its landing page's address."
        ) from error


def _found(client: Any, asked: StacSearch) -> Iterator[FoundItem]:
    limits = {"eo:cloud_cover": {"lte": asked.max_cloud}}
    query = limits if asked.max_cloud is not None and client.conforms_to("QUERY") else None
    search = client.search(
        method="GET",  # which every API must know
        collections=list(asked.collections),
        bbox=None if asked.bbox is None else list(asked.bbox),
        datetime=asked.datetime,
        query=query,
        limit=PAGE,
    )
    for number, item in enumerate(search.items_as_dicts(), start=1):
        if number > MOST_ITEMS:
            raise PolicyError(f"{asked.url} finds more than {MOST_ITEMS} items; narrow --bbox or --datetime.")
        one = _item(item, asked.url)
        # Asked of the server or not: some ignore what they do not know.
        if asked.max_cloud is None or (one.cloud is not None and one.cloud <= asked.max_cloud):
            yield one


def _item(item: dict[str, Any], url: str) -> FoundItem:
    own = (str(link["href"]).partition("#")[0] for link in links(item, "self"))  # what follows # could name a hook
    collection, name = (quote(item[field], safe="") for field in ("collection", "id"))
    standing = f"{url.partition('?')[0].rstrip('/')}/collections/{collection}/items/{name}"
    href = next((href for href in own if is_web(href) and is_stac(href)), standing)
    properties = item["properties"]
    cloud = properties.get("eo:cloud_cover")
    return FoundItem(
        id=item["id"],
        href=href,
        taken=properties.get("datetime") or properties.get("start_datetime"),
        cloud=float(cloud) if isinstance(cloud, int | float) else None,
    )


def _refusal(url: str, error: Exception) -> GeosegError:
    """What pystac-client tells of an answer → the error that fits; its own text may hold a whole page."""
    from requests.exceptions import RequestException, SSLError

    status = getattr(error, "status_code", None)
    if status is None:  # none came
        cause = error.__context__
        what = type(cause).__name__ if isinstance(cause, RequestException) else type(error).__name__
        if isinstance(cause, SSLError):
            return PolicyError(f"{url}: certificate not trusted; set REQUESTS_CA_BUNDLE to your authority's.")
        return TemporaryError(f"{url} cannot be reached ({what}).")
    said = f"{url} answers {status}"
    if status in {404, 410}:
        return InputMissingError(f"{said}: there is no such STAC API; check the address.")
    if status in {401, 403, 407, 451}:
        return PolicyError(f"{said}: the server refuses.")
    if status in {408, 425, 429} or status >= 500:
        return TemporaryError(f"{said}; try again later.")
    return InputError(f"{said}; check --collection, --bbox and --datetime.")
