"""The hidden folder in which a run works, and what of it outlives a run that fails.

    .NAME.geoseg-<digest>/    one for each key that a run was begun with
        key.json              that key: what the tiles depend on
        tiles/                finished tiles (of a training: the states of its fits), for the next run of the same key

All else in it belongs to the running process.
"""

from __future__ import annotations

import glob
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.errors import OutputExistsError
from geoseg.io import posix
from geoseg.io.lock import OutputLock
from geoseg.io.record import key_differences, shown

_KEY = "key.json"
_TILES = "tiles"


class WorkFolder:
    """Work folder of one output and one key.

    All methods but `__init__` want the output's lock: then every work folder is ours or a dead run's.

    Args:
        beside: the output folder.
        prefix: of the names of all work folders of this output.
        key: of the whole output, plain JSON.
        tiles_key: the part of it that tiles depend on; None: there are no tiles, nothing outlives a run.
    """

    def __init__(
        self, beside: Path, prefix: str, key: Mapping[str, Any], tiles_key: Mapping[str, Any] | None = None
    ) -> None:
        self._beside, self._prefix = beside, prefix
        self._tiles_key = None if tiles_key is None else json.loads(json.dumps(tiles_key, allow_nan=False))
        text = json.dumps(self._tiles_key or key, sort_keys=True)
        self.digest = hashlib.sha256(text.encode()).hexdigest()
        self.path = beside / f"{prefix}-{self.digest[:12]}"
        self.staged = self.path / "staged"
        self.tiles = self.path / _TILES

    def open(self, *, restart: bool) -> None:
        """Make the folder; finished tiles of this key stay in it.

        Args:
            restart: discard tiles, also those of other keys.

        Raises:
            OutputExistsError: a run of another key left tiles.
        """
        others = [folder for folder in self._all() if folder != self.path]
        if self._tiles_key is not None and not restart:
            for folder in others:
                if _finished(folder / _TILES):
                    raise OutputExistsError(self._refusal(folder, self._tiles_key))
        for folder in others:
            shutil.rmtree(folder)
        self.close(keep=not restart)
        self.staged.mkdir(parents=True)
        if self._tiles_key is not None:
            draft = self.path / f"{_KEY}.part"
            draft.write_text(json.dumps(self._tiles_key, indent=1), "utf-8")
            posix.sync_file(draft)
            draft.replace(self.path / _KEY)

    def close(self, *, keep: bool) -> None:
        """Remove the folder; its finished tiles stay if wished."""
        if not self.path.exists():
            return
        if not (keep and self._tiles_key is not None and _finished(self.tiles)):
            shutil.rmtree(self.path)
            return
        for path in self.path.iterdir():
            if path.name in {_KEY, _TILES}:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _all(self) -> list[Path]:
        return list(self._beside.glob(f"{glob.escape(self._prefix)}-{'[0-9a-f]' * 12}"))

    def _refusal(self, folder: Path, key: Mapping[str, Any]) -> str:
        try:
            lines = key_differences(json.loads((folder / _KEY).read_bytes()), key)
        except (OSError, ValueError):
            lines = ["its key is unreadable"]
        return (
            f"interrupted work in {folder} was begun with other settings or inputs ({shown(lines)}): run it as it was "
            f"begun to finish it, pass --restart to discard it, or choose another -o."
        )


def _finished(folder: Path) -> bool:
    """True when the folder holds more than drafts."""
    return any(path.suffix != ".part" for path in folder.glob("*"))


def drop_work(beside: Path, stem: str) -> int:
    """Remove all work folders of an output on which no run is at work.

    Args:
        beside: the output folder.
        stem: of the output's names.

    Returns:
        Bytes that are free now.

    Raises:
        OutputLockedError: a run is at work on it.
    """
    prefix, freed = f".{stem}.geoseg", 0
    with OutputLock(beside / f"{prefix}.lock"):
        for folder in beside.glob(f"{glob.escape(prefix)}-{'[0-9a-f]' * 12}"):
            freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            shutil.rmtree(folder)
    return freed
