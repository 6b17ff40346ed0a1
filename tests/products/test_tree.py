"""Archives: what is refused before anything in them is opened."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import InputError, PolicyError
from geoseg.products import tree as tree_module
from geoseg.products.tree import MAX_TEXT_BYTES, product_stem, tree_of


def a_zip(path: Path, *names: str, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return path


def a_tar(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))
    return path


@pytest.mark.parametrize("name", ["../x.tif", "a/../../x.tif", "/etc/x.tif", "..\\x.tif", "\\x.tif"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    for path in (a_zip(tmp_path / "a.zip", "ok", name), a_tar(tmp_path / "a.tar", "ok", name)):
        with pytest.raises(PolicyError, match="a path that leads out of it") as caught:
            tree_of(path)
        assert caught.value.exit_code == 77


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "MAX_MEMBERS", 3)
    (tmp_path / "f").mkdir()
    for name in "abcd":
        (tmp_path / "f" / name).touch()
    for path in (a_zip(tmp_path / "a.zip", *"abcd"), a_tar(tmp_path / "a.tar", *"abcd"), tmp_path / "f"):
        with pytest.raises(PolicyError, match="more than 3 files"):
            tree_of(path)
    assert tree_of(a_zip(tmp_path / "b.zip", *"cab")).files == ("a", "b", "c")


def test_broken_archives(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 cut")
    (tmp_path / "a.tar").write_bytes(b"not a tar at all")
    whole = gzip.compress(a_tar(tmp_path / "b.tar", *"abcdefgh").read_bytes())
    (tmp_path / "a.tar.gz").write_bytes(whole[: len(whole) // 2])
    for name in ("a.zip", "a.tar", "a.tar.gz"):
        with pytest.raises(InputError, match=r"is no whole archive .*download it again"):
            tree_of(tmp_path / name)


def test_an_encrypted_zip(tmp_path: Path) -> None:
    path = a_zip(tmp_path / "a.zip", "x")
    raw = bytearray(path.read_bytes())
    at = raw.index(b"PK\x01\x02")
    raw[at + 8] |= 1  # general purpose flag of the central directory
    path.write_bytes(raw)
    with pytest.raises(InputError, match="is encrypted; unpack it first"):
        tree_of(path)


def test_a_text_that_unpacks_to_a_flood(tmp_path: Path) -> None:
    path = a_zip(tmp_path / "a.zip", "m.xml", content=bytes(MAX_TEXT_BYTES + 1))
    assert path.stat().st_size < MAX_TEXT_BYTES // 100
    with pytest.raises(PolicyError, match="more than 16 MiB"):
        tree_of(path).read("m.xml")


def test_dotted_members_and_links(tmp_path: Path) -> None:
    path = a_tar(tmp_path / "a.tar", "./x/m.txt")
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("evil")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    tree = tree_of(path)
    assert tree.files == ("x/m.txt",)
    assert tree.read("x/m.txt") == b"abc"
    assert tree.path("x/m.txt") == f"/vsitar/{path}/x/m.txt"


@given(st.from_regex(r"[A-Za-z0-9_]{1,20}", fullmatch=True), st.sampled_from([".zip", ".tar", ".tar.gz", ".tgz", ""]))
def test_law_stems(stem: str, suffix: str) -> None:
    assert product_stem(f"{stem}{suffix}") == product_stem(f"{stem}.SAFE{suffix}") == stem
