"""What this process may still take: what the machine has, less where control groups or the user say so."""

from __future__ import annotations

from mmap import mmap
from pathlib import Path

import pytest

from geoseg.errors import UsageError
from geoseg.io import machine
from geoseg.settings import ScheduleSettings, bytes_of

V1 = "11:memory:/batch/job\n4:cpu,cpuacct:/elsewhere\n"
V2 = "0::/batch/job\n"


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 10 GB left and control groups in a folder."""
    monkeypatch.setattr(machine, "memory", lambda: (10**10, 2 * 10**10))
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "GROUPS_OF_PROCESS", tmp_path / "cgroup")
    return tmp_path


def put(folder: Path, names: tuple[str, str, str], limit: str, used: int, cached: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 7\n{names[2]} {cached}\n")


@pytest.mark.parametrize(
    ("table", "home", "names"), [(V1, "memory", machine._V1), (V2, "", machine._V2), (V2, "unified", machine._V2)]
)
def test_the_tightest_group_counts(groups: Path, table: str, home: str, names: tuple[str, str, str]) -> None:
    """What a group has cached from files is not used. Mutation seen red: only the process's own group is looked at."""
    (groups / "cgroup").write_text(table)
    put(groups / home / "batch" / "job", names, str(8 * 10**9), 10**9, 0)
    assert machine.memory_room() == int(0.8 * 7 * 10**9)
    put(groups / home / "batch", names, str(4 * 10**9), 3 * 10**9, 10**9)
    assert machine.memory_room() == int(0.8 * 2 * 10**9)
    put(groups / home / "batch", names, str(4 * 10**9), 6 * 10**9, 10**9)
    assert machine.memory_room() == 0


def test_without_groups_or_limits_the_machine_counts(groups: Path) -> None:
    assert machine.memory_room() == 8 * 10**9
    (groups / "cgroup").write_text(V2)
    assert machine.memory_room() == 8 * 10**9
    put(groups / "batch", machine._V2, "max", 10**9, 0)
    assert machine.memory_room() == 8 * 10**9


def test_a_limit_holds_for_the_whole_process(groups: Path) -> None:
    assert 9 * 10**8 < bytes_of("2GB") - machine.memory_room("2GB") + 9 * 10**8 < 2 * 10**9 + 9 * 10**8
    assert machine.memory_room("1MB") == 0


def test_this_machine_has_room() -> None:
    available, total = machine.memory()
    assert 0 < machine.memory_room() <= available <= total


@pytest.mark.parametrize(
    ("text", "size"), [("4GB", 4 * 10**9), ("500 MB", 5 * 10**8), ("2gib", 2**31), ("1.5kB", 1500), ("1TiB", 2**40)]
)
def test_sizes(text: str, size: int) -> None:
    assert bytes_of(text) == size
    assert ScheduleSettings(max_memory=text).max_memory == text


@pytest.mark.parametrize("text", ["4", "0GB", "GB", "-1GB", "4XB", "4 G B", ""])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match=r"write it as 4GB, 500MB or 2GiB"):
        ScheduleSettings(max_memory=text)


@pytest.mark.parametrize(
    ("text", "size"),
    [(None, 10**9), ("128", 128 * 2**20), ("200000000", 200_000_000), ("10%", 2 * 10**9), ("0", 0)],
)
def test_what_gdal_may_cache(groups: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, size: int) -> None:
    if text is None:
        monkeypatch.delenv("GDAL_CACHEMAX", raising=False)
    else:
        monkeypatch.setenv("GDAL_CACHEMAX", text)
    assert machine.gdal_cache_bytes() == size


@pytest.mark.skipif(not machine.forget_peak(), reason="the system does not let a process forget its peak")
def test_the_peak_since() -> None:
    for size in (2**28, 2**24):  # what came before is forgotten
        before = machine.resident()
        assert machine.forget_peak()
        with mmap(-1, size) as pages:  # whatever the allocator keeps
            for start in range(0, size, 4096):
                pages[start] = 1
        assert size * 0.9 < machine.peak_since() - before < size * 1.5


def test_a_system_that_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PROCESS", tmp_path / "none")
    assert not machine.forget_peak()
