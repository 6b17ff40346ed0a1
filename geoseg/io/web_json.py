"""JSON documents from web servers: STAC items and catalogs."""

from __future__ import annotations

import json
from typing import Any

from geoseg.errors import InputError
from geoseg.io import ranges
from geoseg.io.fetch import answered, check_url

LARGEST = 64 * 2**20
"""Bytes; an item has some 30 KB, a page of a thousand items 30 MB."""
_TYPES = "application/geo+json, application/json"


def read_json(url: str) -> Any:
    """The document at an address.

    Raises:
        UsageError: no http(s) address.
        InputMissingError, PolicyError: there is none, or the server refuses.
        InputError: a web page, no JSON, or more than `LARGEST`.
        TemporaryError: no (complete) answer after several tries.
    """
    check_url(url)
    return parse_json(ranges.patiently(lambda: _once(url), url), url)


def parse_json(body: bytes, where: str) -> Any:
    """The document in some bytes.

    Raises:
        InputError: it is none; `where` names it.
    """
    if body[:64].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise InputError(f"{where} is a web page, no JSON; is there a login or a portal between?")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is no JSON document ({error}).") from error


def _once(url: str) -> bytes:
    headers = {"Accept": _TYPES, "Accept-Encoding": "identity"}
    with answered(url, headers, timeout_s=ranges.PATIENCE.silence_s) as answer:
        body: bytes = answer.read(LARGEST + 1)
        announced = answer.headers.get("Content-Length", "")
    if len(body) > LARGEST:
        raise InputError(f"{url} is longer than {LARGEST >> 20} MiB, too much for a STAC document.")
    ranges.check_complete(url, body, announced)
    return body
