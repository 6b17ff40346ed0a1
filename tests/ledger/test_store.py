"""The ledger: every scene has at most one living holder, whoever dies, is silent, or comes back.

Mutation that turns it red: a lease is over as soon as somebody else looks (shown below).
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.batch_settings import BatchSettings, parse_shard, parse_share, parse_span
from geoseg.errors import InputError, InputMissingError, UsageError
from geoseg.io.lock import Holder
from geoseg.ledger.lease import LeaseWatch
from geoseg.ledger.scene import BatchScene, shard_of
from geoseg.ledger.store import STATE, Ledger
from geoseg.settings import RunSettings

NAMES = ("a", "b", "c")
LEASE = 10.0
TRIES = 1000


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def ledger_of(folder: Path, host: str, clock: Clock) -> Ledger:
    """As a process on another computer has it: nobody here can tell whether it lives."""
    ledger = Ledger(folder, LEASE, clock)
    ledger._me = replace(Holder.current(), host=host)
    return ledger


@pytest.fixture
def batch(tmp_path) -> Path:
    ledger = Ledger(tmp_path)
    ledger.create()
    ledger.enlist(NAMES)
    return tmp_path


STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "beat", "settle", "release", "stop"]), st.integers(0, 2), st.integers(0, 2)),
    max_size=16,
)


def assert_one_holder(folder: Path, steps) -> None:
    """Three processes whose clocks run alike; each beats in time as long as it lives."""
    (folder / STATE).unlink(missing_ok=True)
    clock = Clock()
    processes = [ledger_of(folder, f"host{n}", clock) for n in range(3)]
    processes[0].create()
    processes[0].enlist(NAMES)
    held: dict[str, int] = {}
    alive, done = {0, 1, 2}, set()
    for what, who, which in steps:
        clock.now += LEASE / 4
        for n in sorted(alive):
            processes[n].beat()
        if who not in alive:
            continue
        mine = sorted(name for name, holder in held.items() if holder == who)
        if what == "take":
            row = processes[who].take(NAMES, TRIES)
            if row is not None:
                assert row.name not in done
                assert held.get(row.name) not in alive, "taken from a living process"
                held[row.name] = who
        elif what == "stop":
            alive.discard(who)
        elif what in {"settle", "release"} and mine:
            name = mine[which % len(mine)]
            if what == "settle":
                assert processes[who].settle(name, "done")
                done.add(name)
            else:
                processes[who].release(name)
            del held[name]


@settings(max_examples=25)
@given(steps=STEPS)
def test_a_scene_has_one_living_holder(tmp_path, steps) -> None:
    assert_one_holder(tmp_path, steps)


def test_the_law_falls_when_a_lease_is_over_at_once(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(LeaseWatch, "expired", lambda *_: True)
    with pytest.raises(AssertionError, match="living process"):
        assert_one_holder(tmp_path, [("take", 0, 0), ("take", 1, 0)])


def test_a_silent_holder_loses_its_scene_and_cannot_settle_it(batch) -> None:
    clock = Clock()
    silent, other = ledger_of(batch, "far", clock), ledger_of(batch, "near", clock)
    assert silent.take(["a"], TRIES).name == "a"
    assert other.take(["a"], TRIES) is None  # begins to watch
    clock.now = LEASE - 1
    assert other.take(["a"], TRIES) is None
    clock.now = LEASE
    assert other.take(["a"], TRIES).tries == 2
    assert not silent.settle("a", "failed", "too late", 65)
    assert other.settle("a", "done")
    assert other.rows()["a"].state == "done"


def test_a_sign_of_life_keeps_the_scene(batch) -> None:
    clock = Clock()
    holder, other = ledger_of(batch, "far", clock), ledger_of(batch, "near", clock)
    holder.take(["a"], TRIES)
    for _ in range(5):
        assert other.take(["a"], TRIES) is None
        assert other.elsewhere(["a"])
        clock.now += LEASE - 1
        holder.beat()
    assert not holder.elsewhere(["a"])


def test_a_dead_process_of_this_computer_loses_its_scene_at_once(batch) -> None:
    dead, other = Ledger(batch), Ledger(batch)
    dead._me = replace(dead._me, pid=2**22 + 1)
    dead.take(["a"], TRIES)
    assert other.take(["a"], TRIES).name == "a"


def test_a_scene_on_which_processes_end_is_left_alone(batch) -> None:
    for _ in range(2):
        dead = Ledger(batch)
        dead._me = replace(dead._me, pid=2**22 + 1)
        assert dead.take(["a"], 2).name == "a"
    assert Ledger(batch).take(["a"], 2) is None
    row = Ledger(batch).rows()["a"]
    assert (row.state, "2 processes ended" in row.reason) == ("failed", True)


def test_what_is_given_back_does_not_count_as_a_try(batch) -> None:
    ledger = Ledger(batch)
    for _ in range(5):
        assert ledger.take(["a"], 1).tries == 1
        ledger.release()


def test_scenes_that_left_the_manifest_stay_known_until_they_are_forgotten(batch) -> None:
    ledger = Ledger(batch)
    ledger.enlist(["c", "d"])
    assert {name: row.listed for name, row in ledger.rows().items()} == {"c": True, "d": True, "a": False, "b": False}
    other = Ledger(batch)
    other._me = replace(other._me, host="far")
    other.take(["a"], TRIES)
    assert ledger.forget() == ["b"]
    assert set(ledger.rows()) == {"a", "c", "d"}


def test_what_is_no_ledger_is_told(tmp_path) -> None:
    with pytest.raises(InputMissingError, match="holds no batch"):
        Ledger(tmp_path).check()
    (tmp_path / STATE).write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match="no ledger of geoseg or damaged"):
        Ledger(tmp_path).create()
    (tmp_path / STATE).unlink()
    with sqlite3.connect(tmp_path / STATE) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match="another version"):
        Ledger(tmp_path).create()


def scenes_called(names) -> list[BatchScene]:
    return [BatchScene(name=name, inputs=("a.tif",), settings=RunSettings(), folder=name) for name in names]


@given(count=st.integers(0, 30), of=st.integers(1, 9))
def test_shards_partition_the_manifest(count, of) -> None:
    """Mutation: shards that start at the number and not at the one before it."""
    scenes = scenes_called([f"s{n}" for n in range(count)])
    parts = [shard_of(scenes, (number, of)) for number in range(1, of + 1)]
    assert sorted(scene.name for part in parts for scene in part) == sorted(scene.name for scene in scenes)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("text", "seconds"), [("8h", 28800), ("1h30m", 5400), ("90m", 5400), ("45s", 45), ("3600", 3600), ("2d", 172800)]
)
def test_spans(text, seconds) -> None:
    assert parse_span(text) == seconds


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: parse_span("soon"), "'soon': write it as 8h"),
        (lambda: parse_span(""), "write it as 8h"),
        (lambda: parse_shard("2of8"), "'2of8'"),
        (lambda: BatchSettings(shard=(0, 8)), "the first of 8 is 1/8"),
        (lambda: BatchSettings(shard=(9, 8)), "the last 8/8"),
        (lambda: parse_share("130%"), "'130%' is no share"),
        (lambda: parse_share("much"), "'much' is no share"),
        (lambda: BatchSettings(tries=0), "--tries 0"),
        (lambda: BatchSettings(backoff_s=0), "--backoff 0"),
        (lambda: BatchSettings(max_runtime_s=0), "--max-runtime 0"),
        (lambda: scenes_called(["a/b"]), "'a/b'"),
        (lambda: BatchScene(name="a", inputs=("a",), settings=RunSettings(), folder="../b"), "inside the batch's"),
        (lambda: BatchScene(name="a", inputs=("a",), settings=RunSettings(), folder="status/b"), "inside the batch's"),
    ],
)
def test_what_cannot_be_meant_is_told(call, said) -> None:
    with pytest.raises(UsageError) as caught:
        call()
    assert said in str(caught.value)


def test_shares() -> None:
    assert [parse_share(value) for value in ("30%", 0.3, "0.3", 1, 0)] == [0.3, 0.3, 0.3, 1.0, 0.0]
