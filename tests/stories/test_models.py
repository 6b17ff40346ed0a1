"""`geoseg models`: pull and import of published weights, what is at hand, and what it may be used for."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_kit import Done, geoseg, start
from loopback import Site, reply, site
from saved_model import bundle, random_arrays

from geoseg.model.file import bundled, cache_place, cached, find_model, load_tensors, read_spec, save_model
from geoseg.model.import_dynamicworld import read_arrays, spec, tensors_from
from geoseg.model.published import PUBLISHED, weights_sha256

NAME = "dynamicworld"
REAL = PUBLISHED[NAME]
WEIGHTS = "dynamic_world_weights/forward_weights.npz"


pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def forward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel of random weights."""
    return bundle(tmp_path_factory.mktemp("saved") / "forward", random_arrays())


@pytest.fixture
def server(forward: Path) -> Iterator[Site]:
    with site(files(forward)) as served:
        yield served


@pytest.fixture
def published(forward: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the random weights were the published ones."""
    digest = weights_sha256(tensors_from(read_arrays(forward)))
    monkeypatch.setitem(PUBLISHED, NAME, replace(REAL, weights_sha256=digest))


def files(folder: Path) -> dict[str, object]:
    return {f"/forward/{file}": reply((folder / file).read_bytes()) for file in REAL.files}


def pull(served: Site, *args: object) -> Done:
    return geoseg("models", "pull", NAME, "--url", f"{served.url}/forward/", *args)


def left(home: Path) -> list[str]:
    """Every file in the cache and the temporary folder."""
    folders = (home / "cache", home / "temporary")
    return sorted(path.name for folder in folders for path in folder.rglob("*") if path.is_file())


def test_pulled_weights_are_found_by_name(server: Site, forward: Path, home: Path, published: None) -> None:
    done = pull(server, "--json")
    assert done.code == 0, done.err
    place = home / "cache" / "models" / "dynamicworld.safetensors"
    assert json.loads(done.out) == {
        "model": str(place),
        "name": NAME,
        "version": "1",
        "published": True,
        "up_to_date": False,
    }
    assert left(home) == [place.name]
    assert find_model(NAME).path == place
    assert find_model(NAME).spec == spec()
    for name, tensor in tensors_from(read_arrays(forward)).items():
        torch.testing.assert_close(load_tensors(place)[name], tensor, rtol=0, atol=0)
    assert sorted(server.asked) == sorted(files(forward))


def test_what_is_there_is_not_pulled_again(server: Site, home: Path, published: None) -> None:
    assert pull(server).code == 0
    before, asked = cache_place(NAME).stat(), list(server.asked)
    again = pull(server)
    assert (again.code, "up to date" in again.out) == (0, True)
    assert (cache_place(NAME).stat().st_mtime_ns, server.asked) == (before.st_mtime_ns, asked)
    save_model(cache_place(NAME), load_tensors(cache_place(NAME)), replace(spec(), version="0"), half=False)
    older = pull(server)
    assert (older.code, "pass --overwrite" in older.last) == (73, True)
    assert pull(server, "--overwrite").code == 0
    assert find_model(NAME).spec == spec()
    cache_place(NAME).write_bytes(b"damaged")
    assert pull(server).code == 73
    assert pull(server, "--overwrite").code == 0
    assert find_model(NAME).spec == spec()


def test_pulled_into_a_file_of_the_users_own(server: Site, home: Path, published: None) -> None:
    assert pull(server, "-o", home / "own.safetensors").code == 0
    assert read_spec(home / "own.safetensors") == spec()
    assert left(home) == []
    nowhere = pull(server, "-o", home / "missing" / "own.safetensors")
    assert (nowhere.code, "does not exist" in nowhere.last) == (73, True)


def test_the_published_arrays_pass_the_pinned_digest(shared: Path, home: Path) -> None:
    """The real numbers in a SavedModel of our own making; the pinned digest is not touched."""
    folder = bundle(home / "forward", read_arrays(shared / WEIGHTS))
    with site(files(folder)) as served:
        assert pull(served).code == 0
    assert find_model(NAME).spec == spec()


def test_other_weights_are_refused(server: Site, home: Path) -> None:
    done = pull(server)
    assert done.code == 78
    assert f"{server.url}/forward holds other weights than the published dynamicworld (sha256" in done.last
    assert left(home) == []


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (reply(b"", 404), 66, "answers 404"),
        (reply(b"", 403), 77, "answers 403"),
        (reply(b"", 503), 75, "answers 503"),
        (reply(b"<!doctype html><html>log in</html>"), 65, "a web page"),
        (reply(b"x" * 99, headers={"Content-Length": "100"}), 75, "broke off after 99 of 100"),
    ],
)
def test_a_server_that_fails_leaves_nothing(server: Site, home: Path, answer: object, code: int, message: str) -> None:
    server.replies[f"/forward/{REAL.files[1]}"] = answer
    done = pull(server)
    assert (done.code, message in done.last) == (code, True), done.err
    assert f"geoseg models import {NAME} FOLDER" in done.last
    assert left(home) == []


def test_damage_on_the_way_is_told_with_the_address(server: Site, home: Path, published: None) -> None:
    server.replies[f"/forward/{REAL.files[1]}"] = reply(bytes(1_000_000))
    done = pull(server)
    assert done.code == 78
    assert f"{server.url}/forward/variables/variables.index is damaged (wrong checksum" in done.last
    assert left(home) == []


def test_offline_says_how_to_do_it_by_hand(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_names(*_args: object, **_more: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", no_names)
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    done = geoseg("models", "pull", NAME)
    assert done.code == 75
    for part in (*(f"{REAL.base}/{file}" for file in REAL.files), "FOLDER/variables", "geoseg models import"):
        assert part in done.last
    assert left(home) == []


def test_no_address(home: Path) -> None:
    done = geoseg("models", "pull", NAME, "--url", "file:///etc")
    assert (done.code, "is no http(s) address" in done.last) == (2, True)


def test_an_interrupted_pull_leaves_nothing(server: Site, home: Path) -> None:
    asked, over = threading.Event(), threading.Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        reply(b"x" * 1000, headers={"Content-Length": "2000"})(handler)
        asked.set()
        over.wait(60)

    server.replies[f"/forward/{REAL.files[1]}"] = stall
    process = start("models", "pull", NAME, "--url", f"{server.url}/forward")
    try:
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        over.set()
        process.kill()
    assert (process.returncode, "interrupted" in err) == (130, True), err
    assert left(home) == []


def test_a_name_that_was_not_pulled_yet(home: Path) -> None:
    done = geoseg("models", "show", NAME)
    assert done.code == 66
    assert "model dynamicworld is not on this machine yet: geoseg models pull dynamicworld" in done.last
    assert "geoseg models import dynamicworld FOLDER" in done.last


# ── import ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_published_weights_are_imported_into_the_cache(forward: Path, home: Path, published: None) -> None:
    done = geoseg("models", "import", NAME, forward)
    assert (done.code, done.err) == (0, "")
    assert find_model(NAME).path == cache_place(NAME)
    again = geoseg("models", "import", NAME, forward)
    assert (again.code, "up to date" in again.out) == (0, True)


def test_other_weights_are_imported_under_their_own_version(home: Path) -> None:
    arrays, out = random_arrays(), home / "dw.safetensors"
    np.savez(home / "w.npz", **{f"{i:03d}:{name}": value for i, (name, value) in enumerate(arrays.items())})
    done = geoseg("models", "import", NAME, home / "w.npz", "-o", out, "--json")
    assert done.code == 0
    assert json.loads(done.out)["published"] is False
    assert "other weights than the published dynamicworld" in done.err
    assert find_model(str(out)).spec == replace(spec(), version="1-modified")
    for name, tensor in tensors_from(arrays).items():
        torch.testing.assert_close(load_tensors(out)[name], tensor, rtol=0, atol=0)
    again = geoseg("models", "import", NAME, home / "w.npz", "-o", out)
    assert (again.code, "exists" in again.err) == (73, True)
    missing = geoseg("models", "import", NAME, home / "nothing", "-o", out, "--overwrite")
    assert (missing.code, "does not exist" in missing.err) == (66, True)
    unnamed = geoseg("models", "import", NAME, home / "w.npz")
    assert (unnamed.code, "-o FILE" in unnamed.last) == (78, True)
    assert left(home) == []


def test_a_cache_that_cannot_be_made(forward: Path, home: Path, published: None) -> None:
    (home / "cache").write_text("a file, not a folder")
    done = geoseg("models", "import", NAME, forward)
    assert (done.code, str(home / "cache") in done.last) == (73, True)
    assert "landcover" in geoseg("models", "list").out


# ── list and show ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_list_tells_what_may_be_done_with_each(forward: Path, home: Path, published: None) -> None:
    before = json.loads(geoseg("models", "list", "--json").out)
    assert before["to_pull"] == sorted(PUBLISHED)
    told = geoseg("models", "list").out.splitlines()
    assert any(line.startswith(f"{NAME} ") and line.endswith("not here yet") for line in told)
    assert told[-1] == "geoseg models pull NAME fetches what is not here yet"
    assert geoseg("models", "import", NAME, forward).code == 0
    tensors = load_tensors(cache_place(NAME))
    bound = ({"name": "Spots", "license": "CC BY-NC 4.0"},)
    save_model(cache_place("bound"), tensors, replace(spec(), training_data=bound), half=False)
    save_model(cache_place("closed"), tensors, replace(spec(), license="CC-BY-NC-4.0"), half=False)
    cache_place("broken").write_bytes(b"no model")
    done = geoseg("models", "list", "--json")
    rows = {row["name"]: row for row in json.loads(done.out)["models"]}
    assert NAME not in json.loads(done.out)["to_pull"]
    assert {name: row.get("commercial_use") for name, row in rows.items()} == {
        "bound": "unknown",
        "broken": None,
        "closed": "no",
        "dynamicworld": "yes",
        "landcover": "yes",
        "trees-aerial": "yes",
        "vegetation-aerial": "yes",
    }
    places = dict.fromkeys(rows, "cache") | dict.fromkeys(bundled(), "bundled")
    assert {name: row["where"] for name, row in rows.items()} == places
    assert rows["bound"]["commercial_use_because"] == "trained on Spots, CC BY-NC 4.0"
    assert "not a safetensors file" in rows["broken"]["error"]
    lines = geoseg("models", "list").out.splitlines()
    about = {line.split()[0]: line for line in lines if not line.startswith(" ")}
    assert list(about)[: len(rows)] == sorted(rows)
    assert "Apache-2.0" in about[NAME]
    assert f"commercial use: yes, {cache_place(NAME)}" in about[NAME]
    assert "commercial use: unknown (trained on Spots, CC BY-NC 4.0)" in about["bound"]
    taken = lines[lines.index(about["landcover"]) + 1]
    assert "blue green red nir swir16 swir22, reflectance, 10…30 m → trees, " in taken


def test_show_tells_the_same(home: Path) -> None:
    shown = json.loads(geoseg("models", "show", "landcover", "--json").out)
    assert (shown["commercial_use"], shown["path"]) == ("yes", str(bundled()["landcover"]))
    assert "commercial use: yes (license Apache-2.0)" in geoseg("models", "show", "landcover").out


def test_hidden_files_are_no_models(home: Path) -> None:
    cache_place(NAME).parent.mkdir(parents=True)
    (cache_place(NAME).parent / ".draft.safetensors").write_bytes(b"")
    assert cached() == {}
    assert os.environ["GEOSEG_CACHE"] in str(cache_place(NAME))
