"""One writer for each output; the dead hold nothing, the living and the unknown do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from geoseg.errors import OutputExistsError
from geoseg.io import posix
from geoseg.io.lock import Holder, OutputLock


@pytest.fixture(scope="module")
def dead() -> Holder:
    """A holder whose process has ended."""
    script = "from geoseg.io.lock import *; print(Holder.current().to_bytes().decode())"
    told = subprocess.check_output([sys.executable, "-c", script])
    holder = Holder.from_bytes(told)
    assert holder is not None
    return holder


def test_the_second_holder_is_told_who_the_first_is(tmp_path) -> None:
    path = tmp_path / ".lock"
    with OutputLock(path) as lock:
        with pytest.raises(OutputExistsError) as caught, OutputLock(path):
            pass
        assert f"process {os.getpid()} on {lock.holder.host} since {lock.holder.since}" in str(caught.value)
        assert "--break-lock" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_who_is_refused_learns_when_the_holder_last_showed_life(tmp_path) -> None:
    path = tmp_path / ".lock"
    with OutputLock(path):
        long_ago = path.stat().st_mtime - 5000
        os.utime(path, (long_ago, long_ago))
        with pytest.raises(OutputExistsError, match=r"last sign of life 500\d s ago"), OutputLock(path):
            pass
    assert not list(tmp_path.iterdir())


def test_a_holder_shows_life(tmp_path, monkeypatch) -> None:
    """Mutation: the lock file never touched after it was made; then this waits until pytest's timeout."""
    monkeypatch.setattr("geoseg.io.lock.BEAT_S", 0.01)
    path = tmp_path / ".lock"
    with OutputLock(path):
        os.utime(path, (1, 1))
        while path.stat().st_mtime == 1:
            pass
    assert not path.exists()


def test_a_living_process_holds_and_a_killed_one_does_not(tmp_path) -> None:
    path = tmp_path / ".lock"
    script = f"""
from pathlib import Path
from geoseg.io.lock import OutputLock
with OutputLock(Path({str(path)!r})):
    print("in", flush=True)
    input()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"in\n"
        with pytest.raises(OutputExistsError, match=f"process {child.pid} "), OutputLock(path):
            pass
        child.kill()
        child.wait()
        with OutputLock(path) as lock:
            assert Holder.from_bytes(path.read_bytes()) == lock.holder
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({}, True),
        ({"boot": "another boot", "pid": os.getpid()}, True),
        ({"pid": os.getpid()}, True),  # the pid lives again, as another process
        ({"pid": os.getpid(), "started": Holder.current().started}, False),
        ({"host": "another host"}, False),
        ({"namespace": "pid:[another container]"}, False),
    ],
)
def test_only_certain_death_frees_a_lock(tmp_path, dead, change, gone) -> None:
    """Mutation: judging by the pid alone turns it red."""
    path = tmp_path / ".lock"
    before = min(dead.started, Holder.current().started) - 100  # when no process of ours began
    path.write_bytes(replace(dead, **({"started": before} | change)).to_bytes())
    if gone:
        with OutputLock(path):
            assert Holder.from_bytes(path.read_bytes()).pid == os.getpid()
        return
    before = path.read_bytes()
    with pytest.raises(OutputExistsError), OutputLock(path):
        pass
    assert path.read_bytes() == before
    with OutputLock(path, break_lock=True):
        pass
    assert not list(tmp_path.iterdir())


def test_an_unreadable_lock_is_broken_only_on_demand(tmp_path) -> None:
    path = tmp_path / ".lock"
    path.write_bytes(b'{"pid": 1')
    with pytest.raises(OutputExistsError, match="unknown holder"), OutputLock(path):
        pass
    with OutputLock(path, break_lock=True):
        assert json.loads(path.read_bytes())["pid"] == os.getpid()


def test_whoever_lost_the_lock_does_not_release_the_new_holders(tmp_path) -> None:
    path = tmp_path / ".lock"
    with OutputLock(path):
        robber = OutputLock(path, break_lock=True).__enter__()
    assert Holder.from_bytes(path.read_bytes()) == robber.holder


@pytest.mark.parametrize("takeover_died_too", [False, True])
def test_of_many_takers_of_a_dead_lock_exactly_one_wins(tmp_path, dead, takeover_died_too) -> None:
    """Mutation: `_take_over` without its inner lock (remove the dead lock, then create) turns it red."""
    takers = 8

    def take(path: Path, start: threading.Barrier, done: threading.Barrier) -> bool:
        start.wait()
        try:
            with OutputLock(path):
                done.wait()
                return True
        except OutputExistsError:
            done.wait()
            return False

    with ThreadPoolExecutor(takers) as pool:
        for attempt in range(40):
            path = tmp_path / f"{attempt}.lock"
            path.write_bytes(dead.to_bytes())
            if takeover_died_too:
                path.with_name(f"{path.name}.takeover").write_bytes(dead.to_bytes())
            barriers = threading.Barrier(takers), threading.Barrier(takers)
            won = list(pool.map(lambda _, p=path, b=barriers: take(p, *b), range(takers)))
            assert sum(won) == 1
    assert not list(tmp_path.iterdir())


def test_file_systems_without_hard_links_still_exclude(tmp_path, monkeypatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(next(iter(posix._NO_LINKS)), "no links here")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / ".lock"
    with OutputLock(path):
        with pytest.raises(OutputExistsError), OutputLock(path):
            pass
        assert set(json.loads(path.read_bytes())) == set(asdict(Holder.current()))
    assert not list(tmp_path.iterdir())
