"""Large blocks are reused: counted in page faults, which no other work on the machine changes."""

import os
import subprocess
import sys

import pytest

from geoseg.model.blocks import keep_freed_blocks

COUNT = """
import resource
import torch
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def report():
    start = faults()
    for _ in range(10):
        torch.ones(2**24)
    print(faults() - start)
def warm_up():  # until the small pieces that aligned blocks leave between them are used up
    for _ in range(20):
        torch.ones(2**24)
"""
FAULTS = """
import sys
from geoseg.model.blocks import keep_freed_blocks, stop_keeping_blocks
if sys.argv[1] == "kept":
    assert keep_freed_blocks()
    warm_up()
report()
stop_keeping_blocks()
report()
if sys.argv[1] == "kept":
    assert keep_freed_blocks()
    warm_up()
    report()
"""


def numbers_of(script, *arguments):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", COUNT + script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean)
    return [int(line) for line in done.stdout.split()]


@pytest.mark.skipif(not keep_freed_blocks(), reason="another C library, or its settings are given")
def test_freed_blocks_are_reused_until_that_is_stopped_and_can_be_again():
    pages = 2**26 // os.sysconf("SC_PAGE_SIZE")
    by_default, _ = numbers_of(FAULTS, "default")
    kept, stopped, kept_again = numbers_of(FAULTS, "kept")
    assert by_default > 5 * pages  # else the whole setting serves nothing
    assert stopped > pages // 2  # a hole between other blocks may take it again, but was given back
    assert max(kept, kept_again) < pages // 4


SHARED = """
from geoseg.model.blocks import idle_bytes, keep_freed_blocks, sharing_blocks, stop_keeping_blocks
with sharing_blocks():
    with sharing_blocks():
        assert keep_freed_blocks()
        warm_up()
        stop_keeping_blocks()
    report()
    print(idle_bytes())
print(idle_bytes())
report()
"""


@pytest.mark.skipif(not keep_freed_blocks(), reason="another C library, or its settings are given")
def test_blocks_stay_until_the_last_who_shares_them_has_ended():
    """Named mutation: `stop_keeping_blocks` heeds only its own caller."""
    pages = 2**26 // os.sysconf("SC_PAGE_SIZE")
    shared, idle, idle_afterwards, alone = numbers_of(SHARED)
    assert shared < pages // 4
    assert alone > pages // 2
    assert idle > 2**26 * 0.9
    assert idle_afterwards < 2**20


def test_what_the_user_has_set_wins(monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    assert not keep_freed_blocks()


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_blocks()


ARENAS = """
import ctypes, sys, threading
from geoseg.model.blocks import share_one_arena
if sys.argv[1] == "one":
    assert share_one_arena()
libc, together = ctypes.CDLL(None), threading.Barrier(4)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def work():
    together.wait()
    libc.free(libc.malloc(100_000))
    together.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_stats()
"""


@pytest.mark.skipif(not keep_freed_blocks(), reason="another C library, or its settings are given")
def test_threads_begun_after_the_word_share_one_heap():
    """By glibc's own report."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    heaps = {}
    for how in ("one", "own"):
        done = subprocess.run(
            [sys.executable, "-c", ARENAS, how], capture_output=True, text=True, check=True, env=clean
        )
        heaps[how] = done.stderr.count("Arena ")
    assert heaps["one"] == 1
    assert heaps["own"] > 1
