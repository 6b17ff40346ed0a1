"""The files of a product, wherever they lie: a folder, a zip or a tar that is read in place."""

from __future__ import annotations

import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from geoseg.errors import InputError, InputMissingError, PolicyError

MAX_MEMBERS = 200_000
MAX_TEXT_BYTES = 16 * 2**20
"""Sentinel-2's metadata, the longest, has 60 KB; a member that unpacks to more than this is no metadata."""
_ARCHIVES = {".zip": "zip", ".tar": "tar", ".tar.gz": "tar", ".tgz": "tar"}


@dataclass(frozen=True)
class Tree:
    """A folder's or archive's files."""

    root: str
    """Absolute path of the folder or archive."""
    kind: Literal["folder", "zip", "tar", "files"]
    """files: no common root, each of `files` is a whole path."""
    files: tuple[str, ...]
    """Paths relative to the root, with `/`, sorted."""

    @property
    def name(self) -> str:
        """Last part of the root: a folder's name, an archive's file name."""
        return Path(self.root).name

    @property
    def stem(self) -> str:
        """The name without archive suffix and .SAFE."""
        return product_stem(self.name)

    @property
    def is_slow(self) -> bool:
        """True when each band must be unpacked from the start to reach a pixel."""
        return self.kind == "tar" and not self.name.lower().endswith(".tar")

    def path(self, file: str) -> str:
        """What GDAL opens."""
        if self.kind == "files":
            return file
        prefix = {"folder": "", "zip": "/vsizip/", "tar": "/vsitar/"}[self.kind]
        return f"{prefix}{self.root}/{file}"

    def read(self, file: str) -> bytes:
        """Content of a small file.

        Raises:
            InputError: damaged or encrypted archive.
            InputMissingError: the file may not be read.
            PolicyError: more than `MAX_TEXT_BYTES`.
        """
        try:
            content = _read(self, file)
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError) as error:
            raise InputError(
                f"{file} in {self.root} cannot be unpacked ({_first_line(error)}); download it again."
            ) from error
        except OSError as error:
            raise InputMissingError(f"{self.root}/{file}: {error.strerror or error}.") from error
        if len(content) > MAX_TEXT_BYTES:
            raise PolicyError(
                f"{file} in {self.root} holds more than {MAX_TEXT_BYTES >> 20} MiB, too much for metadata."
            )
        return content


def _read(tree: Tree, file: str) -> bytes:
    if tree.kind == "folder":
        with Path(tree.root, file).open("rb") as stream:
            return stream.read(MAX_TEXT_BYTES + 1)
    if tree.kind == "zip":
        with zipfile.ZipFile(tree.root) as archive:
            name = next(name for name in archive.namelist() if _plain(name) == file)
            with archive.open(name) as stream:
                return stream.read(MAX_TEXT_BYTES + 1)
    with tarfile.open(tree.root) as tar:
        stored = tar.extractfile(next(member for member in tar if _plain(member.name) == file))
        return b"" if stored is None else stored.read(MAX_TEXT_BYTES + 1)


def _plain(name: str) -> str:
    """Archives made with `tar -c .` write ./X, which GDAL and people call X."""
    return name.removeprefix("./")


def archive_suffix(name: str) -> str | None:
    """`.zip`, `.tar`, `.tar.gz`, `.tgz`, or None for other names."""
    return next((suffix for suffix in (".tar.gz", *_ARCHIVES) if name.lower().endswith(suffix)), None)


def product_stem(name: str) -> str:
    """`X` of X.SAFE.zip, X.zip, X.tar.gz, X.SAFE."""
    suffix = archive_suffix(name)
    stem = name[: -len(suffix)] if suffix else name
    return stem[:-5] if stem.upper().endswith(".SAFE") else stem


def tree_of(path: Path) -> Tree:
    """List a folder (with its subfolders) or an archive.

    Raises:
        InputMissingError: no such path, or not readable.
        InputError: not an archive though named like one, or encrypted.
        PolicyError: more than `MAX_MEMBERS` members, or names that lead out of the archive.
    """
    root = Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would replace the links that users name scenes by)
    suffix = archive_suffix(root.name)
    try:
        if root.is_dir():
            return Tree(str(root), "folder", _sorted(_walk(root), root))
        if suffix == ".zip":
            return Tree(str(root), "zip", _sorted(_zipped(root), root))
        return Tree(str(root), "tar", _sorted(_tarred(root), root))
    except PolicyError:  # an OSError, too
        raise
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise InputError(f"{path} is no whole archive ({_first_line(error)}); download it again.") from error
    except OSError as error:
        raise InputMissingError(f"input {str(path)!r}: {error.strerror or error}.") from error


def folder_of(path: Path) -> Tree:
    """The files beside a file, without subfolders.

    Raises:
        InputMissingError: the folder may not be read.
    """
    parent = Path(os.path.abspath(path)).parent  # noqa: PTH100 (see tree_of)
    try:
        names = [entry.name for entry in os.scandir(parent) if entry.is_file()]
    except OSError as error:
        raise InputMissingError(f"folder {parent}: {error.strerror}.") from error
    return Tree(str(parent), "folder", tuple(sorted(names)))


def _walk(root: Path) -> Iterable[str]:
    for folder, _, names in os.walk(root, onerror=_raise):
        for name in names:
            yield Path(folder, name).relative_to(root).as_posix()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _raise(error: OSError) -> None:
    raise error


def _zipped(path: Path) -> Iterable[str]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.flag_bits & 1:
                raise InputError(f"{path} is encrypted; unpack it first.")
            if not member.is_dir():
                yield member.filename


def _tarred(path: Path) -> Iterable[str]:
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isreg():
                yield member.name


def _sorted(names: Iterable[str], root: Path) -> tuple[str, ...]:
    out: list[str] = []
    for name in names:
        if len(out) == MAX_MEMBERS:
            raise PolicyError(f"{root} holds more than {MAX_MEMBERS} files; name the product itself.")
        if name.startswith(("/", "\\")) or ".." in PurePosixPath(name.replace("\\", "/")).parts:
            raise PolicyError(f"{root} holds {name!r}, a path that leads out of it; this archive is not trusted.")
        out.append(_plain(name))
    return tuple(sorted(out))
