"""TorchGeo's published networks from a server to polygons, and everything that can go wrong on the way.

The server is this machine's and its files are small ones of the published form.
"""

from __future__ import annotations

import errno
import hashlib
import json
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from cli_kit import Done, codes_of, geoseg, names_in, polygons_in
from loopback import Reply, Site, reply, site
from torchgeo.models import Unet_Weights, unet
from torchgeo_kit import (
    FIELDS,
    MARGIN,
    NO_CHECKSUM,
    SIDE,
    SMALL,
    TREES,
    aerial,
    mirrored,
    publish,
    small,
    two_dates,
    weights_file,
)

from geoseg.io.compose import open_scene
from geoseg.model.file import cache_place, find_model
from geoseg.model.published import PUBLISHED
from geoseg.model.torchgeo_weights import TORCHGEO
from geoseg.settings import ReadSettings

FILE = "weights.pth"


pytestmark = pytest.mark.usefixtures("home")


def left(home: Path) -> list[str]:
    """Every file in the cache and the temporary folder."""
    folders = (home / "cache", home / "temporary")
    return sorted(path.name for folder in folders for path in folder.rglob("*") if path.is_file())


def served(name: str, answer: Reply) -> dict[str, Reply]:
    return {f"/mirror/{PUBLISHED[name].files[0]}": answer}


def pull(name: str, server: Site, *more: object) -> Done:
    return geoseg("models", "pull", name, "--url", f"{server.url}/mirror", *more)


def pulled(name: str, file: Path) -> None:
    """From a server that is gone afterwards: no later command can ask it."""
    with site(served(name, reply(file.read_bytes()))) as server:
        done = pull(name, server)
        assert (done.code, name.rpartition(".")[2].lower() in done.out) == (0, True), done.err
        assert pull(name, server).out.startswith(f"{TORCHGEO[name].spec().name} 1 up to date")
        assert len(server.asked) == 1


def torchgeo_codes(member: Unet_Weights, file: Path, stored: np.ndarray) -> np.ndarray:
    """What TorchGeo itself makes of stored numbers (band, row, col), with the margin that geoseg mirrors around."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Unet_Weights, "get_state_dict", lambda *_, **__: torch.load(file, weights_only=True))
        network = unet(member)
    steps = [step for step in member.transforms if type(step).__name__ != "Resize"]
    with torch.inference_mode():
        image = torch.nn.Sequential(*steps)(torch.from_numpy(mirrored(stored)[None]).float())
        return network.eval()(image)[0].argmax(0)[MARGIN:-MARGIN, MARGIN:-MARGIN].numpy()


def assert_results(out: Path, name: str, expected: np.ndarray) -> None:
    """The class raster is TorchGeo's own answer, the polygons outline it, and the record says whose it is."""
    (classes,) = out.glob("*.classes.tif")
    (record,) = out.glob("*.json")
    codes = codes_of(classes)
    assert set(np.unique(expected)) == set(range(len(TORCHGEO[name].classes)))
    assert np.mean(codes != expected) < 1e-3
    polygons = polygons_in(next(out.glob("*.polygons.gpkg")))
    counts = dict(zip(*np.unique(codes, return_counts=True), strict=True))
    assert polygons.groupby("class_id")["n_pixels"].sum().to_dict() == counts
    assert polygons["n_pixels"].sum() == codes.size
    with rasterio.open(classes) as dataset:
        tags = dataset.tags()
    spec = TORCHGEO[name].spec()
    assert (tags["GEOSEG_MODEL_LICENSE"], tags["GEOSEG_MODEL_ATTRIBUTION"]) == (spec.license, spec.attribution)
    assert json.loads(record.read_text())["properties"]["geoseg:model"]["name"] == spec.name


def test_field_boundaries_from_two_files(home: Path, sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = Unet_Weights.SENTINEL2_3CLASS_FTW
    dates = two_dates(sample, home)
    stored = open_scene(dates, ReadSettings(together="dates")).select(TORCHGEO[FIELDS].spec().band_names)
    pixels = stored.read(stored.grid.window).data
    file = weights_file(home / FILE, TORCHGEO[FIELDS].spec(), mirrored(pixels / 3000).astype("float32"))
    publish(monkeypatch, FIELDS, file)
    pulled(FIELDS, file)
    asked = geoseg("info", *dates, "--dates", "-m", FIELDS, "--json")
    assert (asked.code, json.loads(asked.out)["fits"]) == (0, True)
    flags = ("-m", FIELDS, "--precision", "fp32", "--margin", MARGIN)
    done = geoseg("run", *dates, "--dates", "-o", home / "out", *flags)
    assert done.code == 0, done.err
    assert_results(home / "out", FIELDS, torchgeo_codes(member, file, pixels))
    words = ",".join(
        f"{color}@{n}={path.name}:{index}"
        for n, path in enumerate(dates, start=1)
        for index, color in ((3, "red"), (2, "green"), (1, "blue"), (4, "nir"))
    )
    long = json.loads(geoseg("info", *dates, "--stack", "--bands", words, "-m", FIELDS, "--json").out)
    assert (long["fits"], long["values"]) == (True, json.loads(asked.out)["values"])


def test_tree_canopy_from_an_aerial_image(home: Path, sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = aerial(sample, home / "aerial.tif")
    with rasterio.open(image) as dataset:
        pixels = dataset.read()
    file = weights_file(home / FILE, TORCHGEO[TREES].spec(), mirrored(pixels).astype("float32"))
    publish(monkeypatch, TREES, file)
    pulled(TREES, file)
    flags = ("-m", TREES, "--precision", "fp32", "--margin", MARGIN, "--chip", 512)
    done = geoseg("run", image, "-o", home / "out", *flags)
    assert done.code == 0, done.err
    assert_results(home / "out", TREES, torchgeo_codes(Unet_Weights.OAM_RGB_RESNET34_TCD, file, pixels))


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the form of FIELDS, but for a small encoder."""
    spec = replace(TORCHGEO[FIELDS], encoder=SMALL).spec()
    pixels = np.random.default_rng(0).random((8, 64, 64))
    return weights_file(tmp_path_factory.mktemp("published") / FILE, spec, pixels)


@pytest.fixture
def fields(small_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small file that counts as the published one; of the same form is that of a network without a checksum."""
    small(monkeypatch, FIELDS, NO_CHECKSUM)
    publish(monkeypatch, FIELDS, small_file)
    return small_file


def test_what_was_pulled_is_listed_and_shown(home: Path, fields: Path) -> None:
    before = json.loads(geoseg("models", "list", "--json").out)
    rows = {row["name"]: row for row in before["published"]}
    assert set(rows) == set(PUBLISHED)
    assert set(before["to_pull"]) == set(PUBLISHED)
    row = rows[FIELDS]
    assert row["bands"] == ["red@1", "green@1", "blue@1", "nir@1", "red@2", "green@2", "blue@2", "nir@2"]
    assert (row["gsd_m"], row["classes"]) == ([10, 10], ["background", "field", "boundary"])
    assert (row["license"], row["commercial_use"], row["megabytes"]) == ("CC-BY-4.0", "yes", 53)
    assert (row["here"], row["checksum"]) == (False, "first 8 digits of the file's SHA-256")
    assert rows[NO_CHECKSUM]["checksum"] is None
    lines = geoseg("models", "list").out.splitlines()
    (at,) = [n for n, line in enumerate(lines) if line.startswith(f"{FIELDS} ")]
    assert "CC-BY-4.0" in lines[at]
    assert lines[at].endswith("not here yet")
    bands, _, rest = lines[at + 1].partition(", ")
    assert bands.split() == row["bands"]
    assert rest == "reflectance, 10 m → background, field, boundary; 53.0 MB"
    assert any(line.startswith(NO_CHECKSUM) and line.endswith("--sha256") for line in lines)
    pulled(FIELDS, fields)
    assert left(home) == ["Unet_Weights.SENTINEL2_3CLASS_FTW.safetensors"]
    after = json.loads(geoseg("models", "list", "--json").out)
    assert FIELDS in [row["name"] for row in after["models"]]
    assert FIELDS not in after["to_pull"]
    shown = geoseg("models", "show", FIELDS).out
    origin = find_model(FIELDS).spec.training["published"]
    assert origin["sha256"].startswith(str(PUBLISHED[FIELDS].file_sha256))
    assert f"weights  {TORCHGEO[FIELDS].url}, SHA-256 {origin['sha256']}" in shown
    assert "commercial use: yes" in shown


def test_another_file_is_refused_before_torch_reads_it(home: Path, fields: Path, monkeypatch) -> None:
    def never(*_args: object, **_more: object) -> None:
        raise AssertionError("torch read a file that nobody vouches for")

    monkeypatch.setattr(torch, "load", never)
    with site(served(FIELDS, reply(fields.read_bytes() + b"!"))) as server:
        done = pull(FIELDS, server)
        assert done.code == 78
        assert f"{server.url}/mirror/{PUBLISHED[FIELDS].files[0]} is another file than the published" in done.last
    assert (left(home), len(done.last.splitlines())) == ([], 1)


def test_more_than_tensors_is_refused(home: Path, fields: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where its checksum is right."""
    torch.save({"weights": Path("anything")}, home / "evil.pth")
    publish(monkeypatch, FIELDS, home / "evil.pth")
    with site(served(FIELDS, reply((home / "evil.pth").read_bytes()))) as server:
        done = pull(FIELDS, server)
        said = f"{server.url}/mirror/{PUBLISHED[FIELDS].files[0]} holds more than tensors"
    assert (done.code, said in done.last) == (77, True), done.err
    assert left(home) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"PK no archive", "or damaged"), ({"conv.weight": torch.zeros(1)}, "does not hold the weights of")],
)
def test_what_is_no_such_network(home: Path, fields: Path, monkeypatch, content: object, message: str) -> None:
    if isinstance(content, bytes):
        (home / "odd.pth").write_bytes(content)
    else:
        torch.save(content, home / "odd.pth")
    publish(monkeypatch, FIELDS, home / "odd.pth")
    with site(served(FIELDS, reply((home / "odd.pth").read_bytes()))) as server:
        done = pull(FIELDS, server)
    assert (done.code, message in done.last) == (78, True), done.err
    assert left(home) == []


def test_no_network(home: Path, fields: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_names(*_args: object, **_more: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", no_names)
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    done = geoseg("models", "pull", FIELDS)
    assert done.code == 75
    assert "cannot be reached (Temporary failure in name resolution)" in done.last
    by_hand = f"fetch {TORCHGEO[FIELDS].url} as FILE, then geoseg models import {FIELDS} FILE."
    assert done.last.endswith(f"Or by hand, from another machine: {by_hand}")
    assert left(home) == []


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """`ulimit -f`, for this process: Python ignores the signal, writing fails with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_no_room_for_the_download(home: Path, fields: Path) -> None:
    with site(served(FIELDS, reply(fields.read_bytes()))) as server, largest_file(100_000):
        done = pull(FIELDS, server)
    assert (done.code, "download" in done.last) == (74, True), done.err
    assert left(home) == []


def test_no_room_for_the_model_file(home: Path, fields: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.is_relative_to(home / "cache"):
            write(path, data[:1000])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with site(served(FIELDS, reply(fields.read_bytes()))) as server:
        done = pull(FIELDS, server)
    assert done.code == 74, done.err
    assert str(cache_place(FIELDS)) in done.last
    assert left(home) == []


def test_without_a_published_checksum_the_user_must_say_one(home: Path, fields: Path) -> None:
    with site(served(NO_CHECKSUM, reply(fields.read_bytes()))) as server:
        done = pull(NO_CHECKSUM, server)
        assert (done.code, server.asked) == (77, [])
        assert f"nobody published a checksum of {NO_CHECKSUM}" in done.last
        assert "--sha256" in done.last
        wrong = pull(NO_CHECKSUM, server, "--sha256", "0" * 64)
        assert (wrong.code, "another file than" in wrong.last) == (78, True)
        assert left(home) == []
        right = hashlib.sha256(fields.read_bytes()).hexdigest()
        assert pull(NO_CHECKSUM, server, "--sha256", right.upper()).code == 0
        again = pull(NO_CHECKSUM, server, "--sha256", right)
        assert "up to date" in again.out
        other = pull(NO_CHECKSUM, server, "--sha256", "1" * 64)
        assert (other.code, "pass --overwrite" in other.last) == (73, True)
    assert find_model(NO_CHECKSUM).spec.training["published"]["sha256"] == right


@pytest.mark.parametrize(
    ("name", "digits", "message"),
    [
        (FIELDS, "12ab", "is not 64 hexadecimal digits"),
        (FIELDS, "0" * 64, "does not begin with the published"),
        ("dynamicworld", "0" * 64, "geoseg knows the checksum of dynamicworld"),
    ],
)
def test_digits_that_make_no_sense(home: Path, name: str, digits: str, message: str) -> None:
    done = geoseg("models", "pull", name, "--sha256", digits)
    assert (done.code, message in done.last) == (2, True)


def test_a_file_fetched_by_hand(home: Path, fields: Path) -> None:
    done = geoseg("models", "import", FIELDS, fields)
    assert (done.code, done.err) == (0, "")
    assert find_model(FIELDS).path == cache_place(FIELDS)
    assert "up to date" in geoseg("models", "import", FIELDS, fields).out
    other = home / "other.pth"
    torch.save(torch.load(fields, weights_only=True), other, pickle_protocol=3)
    other.write_bytes(other.read_bytes() + b" ")
    refused = geoseg("models", "import", FIELDS, other, "--overwrite")
    assert (refused.code, "another file than the published" in refused.last) == (78, True)
    own = geoseg("models", "import", FIELDS, other, "-o", home / "own.safetensors")
    assert (own.code, "the model's version says so" in own.err) == (0, True)
    assert find_model(str(home / "own.safetensors")).spec.version == "1-modified"
    missing = geoseg("models", "import", FIELDS, home / "none.pth", "-o", home / "x.safetensors")
    assert (missing.code, PUBLISHED[FIELDS].files[0] in missing.last) == (66, True)
    assert "own.safetensors" in names_in(home)


def test_names_that_are_not_here_or_nowhere(home: Path) -> None:
    absent = geoseg("models", "show", TREES)
    assert (absent.code, f"geoseg models pull {TREES}" in absent.last) == (66, True)
    assert absent.last.endswith(f"geoseg models import {TREES} FILE.")
    unknown = geoseg("models", "show", "torchgeo:Unet_Weights.SENTINEL2_FTW")
    assert (unknown.code, "torchgeo:Unet_Weights.SENTINEL2_" in unknown.last) == (66, True)
    nothing = geoseg("models", "pull", "torchgeo:ResNet50_Weights.SENTINEL2_ALL_MOCO")
    assert (nothing.code, "geoseg models list" in nothing.last) == (2, True)


def test_one_date_where_two_are_needed(home: Path, sample: Path, fields: Path) -> None:
    first, second = two_dates(sample, home)
    pulled(FIELDS, fields)
    out = ("-m", FIELDS, "-o", home / "out")
    lacking = geoseg("run", first, *out)
    assert (lacking.code, "Give one input a date, in the model's order, with --dates." in lacking.last) == (78, True)
    alone = geoseg("run", first, "--dates", *out)
    assert (alone.code, "--dates needs one input for each date" in alone.last) == (2, True)
    unsaid = geoseg("run", first, second, *out)
    assert (unsaid.code, "--dates (dates of one place)" in unsaid.last) == (2, True)
    assert not (home / "out").exists()
    planned = geoseg("run", first, second, "--dates", *out, "--dry-run", "--json")
    assert planned.code == 0, planned.err
    assert json.loads(planned.out)["grid"]["size"][0] == SIDE


def test_the_list_needs_no_torch(home: Path) -> None:
    words = ["models", "list"]
    code = f"import sys\nfrom geoseg.cli import main\nmain({words}, standalone_mode=False, prog_name='geoseg')\n"
    code += "print([name for name in ('torch', 'torchgeo', 'rasterio') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert FIELDS in done.stdout
    assert done.stdout.endswith("[]\n")
