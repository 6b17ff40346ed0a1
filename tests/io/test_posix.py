"""What the system says when it cannot write, and the remedy that we put beside it."""

from __future__ import annotations

import errno
import os

import pytest

from geoseg.errors import OutputError, OutputExistsError
from geoseg.io.posix import disk_errors


def told(number: int, path, **more: str) -> str:
    with pytest.raises(OutputError) as caught, disk_errors("pages", path, needed=77, **more):
        raise OSError(number, os.strerror(number))
    return str(caught.value)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_tells_what_is_needed_and_where_else_to_go(tmp_path, number) -> None:
    """Named mutation: another -o is always the remedy, where it would not help."""
    assert told(number, tmp_path / "a.tif").startswith(f"pages {tmp_path / 'a.tif'}: ")
    assert "it needs 77 bytes" in told(number, tmp_path / "a.tif")
    assert told(number, tmp_path / "a.tif").endswith("or choose another -o.")
    assert told(number, tmp_path, chosen_by="TMPDIR").endswith("or choose another TMPDIR.")


def test_another_error_promises_no_remedy_and_a_refusal_wants_another_place(tmp_path) -> None:
    assert told(errno.EIO, tmp_path).endswith("it needs 77 bytes.")
    with pytest.raises(OutputExistsError, match=r"choose another -o\.$"), disk_errors("pages", tmp_path):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    with pytest.raises(OutputExistsError, match=r"another TMPDIR\.$"), disk_errors("x", tmp_path, chosen_by="TMPDIR"):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
