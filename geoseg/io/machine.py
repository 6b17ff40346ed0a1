"""What this computer offers: memory, disk space, processor."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from geoseg.spelling import bytes_of

CPUINFO = Path("/proc/cpuinfo")
CGROUPS = Path("/sys/fs/cgroup")
GROUPS_OF_PROCESS = Path("/proc/self/cgroup")
PROCESS = Path("/proc/self")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = ("memory.max", "memory.current", "inactive_file")
SHARE = 0.8
"""Of the available memory; the rest is for whoever comes next."""
# Instructions that decide which kernels a network runs on: AVX2 (all), AVX-512 and bf16 (fast CPUs).
CPU_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "sve")


def memory() -> tuple[int, int]:
    """(available, total) bytes of main memory."""
    import psutil

    state = psutil.virtual_memory()
    return int(state.available), int(state.total)


def memory_room(most: str | None = None) -> int:
    """Bytes that this process may still take, 0 or more.

    Args:
        most: what it may come to altogether, as `4GB`; None: `SHARE` of what the machine and its control groups
            (containers, batch jobs: Linux cgroups, both versions) have left.
    """
    if most is not None:
        return max(0, bytes_of(most) - resident())
    return int(SHARE * min([memory()[0], *_group_rooms(CGROUPS, GROUPS_OF_PROCESS)]))


def resident() -> int:
    """Bytes of main memory that this process has now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def forget_peak() -> bool:
    """Let `peak_since` count from now on; False where the system (all but Linux) or its rules do not allow it."""
    try:
        (PROCESS / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_since() -> int:
    """Bytes of the largest resident size since `forget_peak` (proc_pid_status(5), VmHWM)."""
    lines = (PROCESS / "status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def gdal_cache_bytes() -> int:
    """What GDAL's cache of blocks may come to, as `GDAL_CACHEMAX` says; 5 % of the memory unless set.

    A number below 100,000 means MB, above it bytes, `%` a share (https://gdal.org/en/stable/user/configoptions.html).
    """
    text = os.environ.get("GDAL_CACHEMAX", "5%").strip()
    number = float(re.match(r"[\d.]*", text)[0] or 0)  # type: ignore[index]
    if text.endswith("%"):
        return int(number / 100 * memory()[1])
    return int(number * 2**20 if number < 100_000 else number)


def _group_rooms(root: Path, groups: Path) -> Iterator[int]:
    """Bytes that each control group above this process, itself included, leaves.

    What a group has read from files it gives back when asked, and counts as free. A container may not see the
    folders of the groups that hold it; then those that it sees count.
    """
    if not groups.is_file():
        return
    for line in groups.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            files, homes = _V2, [root, root / "unified"]
        elif "memory" in controllers.split(","):
            files, homes = _V1, [root / "memory"]
        else:
            continue
        for home in homes:
            own = home / path.lstrip("/")
            for folder in (own, *own.parents):
                if folder.is_relative_to(home) and (folder / files[0]).is_file():
                    yield from _group_room(folder, *files)


def _group_room(folder: Path, limit: str, usage: str, cached: str) -> Iterator[int]:
    """What one group leaves; nothing if it has no limit."""
    most = (folder / limit).read_text(encoding="utf-8").strip()
    if most != "max":
        counts = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
        used = int((folder / usage).read_text(encoding="utf-8")) - int(counts.get(cached, 0))
        yield max(0, int(most) - used)


def free_space(folder: Path) -> int:
    """Bytes that may still be written where `folder` is, or will be.

    Raises:
        OSError: not even the root of the path can be examined.
    """
    place = folder.resolve()
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free


def processor() -> dict[str, str]:
    """Name, cores, and the instruction sets among `CPU_FEATURES`; without /proc only what Python knows."""
    import psutil

    fields = _cpuinfo(CPUINFO)
    flags = set(f"{fields.get('flags', '')} {fields.get('Features', '')}".split())
    return {
        "name": fields.get("model name") or platform.processor() or platform.machine(),
        "cores": f"{psutil.cpu_count(logical=False) or '?'} physical, {psutil.cpu_count() or '?'} logical",
        "features": " ".join(name for name in CPU_FEATURES if name in flags) or "unknown",
    }


def _cpuinfo(path: Path) -> dict[str, str]:
    """The first processor's fields."""
    if not path.is_file():
        return {}
    first, *_ = path.read_text(encoding="utf-8", errors="replace").split("\n\n")
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
