"""Signals: the first unwinds, the second and the clock end at once, always with the signal's own exit code."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from geoseg.interrupts import STOPS, Interrupts

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

START = """
import sys, time
from geoseg import interrupts
from geoseg.interrupts import Interrupts
interrupts.GRACE_S = {grace}
with Interrupts() as listening:
    try:
        print("in", flush=True)
        {deep}
    except KeyboardInterrupt:
        print("unwinding", flush=True)
        {unwind}
        code, text = listening.tell()
        print(text, flush=True)
        {ending}
        sys.exit(code)
"""
FOREVER = "any(time.sleep(0.1) for _ in range(6000))"
"""Python hears a signal that came just before a sleep began only when that ends."""
ASK = "import os, signal, threading; threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()"
DEAF = f"import hashlib; {ASK}; hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
"""One call of C that takes half an hour and, like our kernels, lets other threads run."""


def started(*, deep: str = FOREVER, unwind: str = "pass", ending: str = "pass", grace: float = 600.0):
    script = START.format(deep=deep, unwind=unwind, ending=ending, grace=grace)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    child = subprocess.Popen([sys.executable, "-c", script], **pipes)
    assert child.stdout.readline() == "in\n"
    return child


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_first_signal_unwinds(number, code) -> None:
    child = started()
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (
        code,
        f"unwinding\n{STOPS[number][1]}; run the same command again.\n",
        "",
    )


def test_the_second_signal_ends_at_once() -> None:
    child = started(unwind=FOREVER)
    child.send_signal(signal.SIGINT)
    assert child.stdout.readline() == "unwinding\n"
    deadline = time.monotonic() + 60
    while child.poll() is None and time.monotonic() < deadline:  # those of the first moments count as its echo
        child.send_signal(signal.SIGTERM)
    assert child.returncode == 143
    assert child.stderr.read() == "error: terminated; run the same command again.\n"


def test_two_at_the_same_moment_are_one() -> None:
    """`timeout` sends its signal to the process and to its group."""
    child = started(unwind="time.sleep(1.5)")
    for _ in range(2):
        child.send_signal(signal.SIGTERM)
    out, _ = child.communicate(timeout=60)
    assert (child.returncode, len(out.splitlines())) == (143, 2)


@pytest.mark.parametrize(
    ("deep", "said"), [(DEAF, ""), (f"{ASK}; {FOREVER}", "unwinding\n")], ids=["deaf", "slow to unwind"]
)
def test_the_clock_ends_what_does_not_end(deep, said) -> None:
    """Mutation: without the watching thread this hangs."""
    child = started(deep=deep, unwind=FOREVER, grace=0.5)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (143, said, "error: terminated; run the same command again.\n")


def test_an_import_is_not_interrupted(tmp_path) -> None:
    """Mutation: raised at once, "imported" is never said; C++ modules abort then."""
    (tmp_path / "slow_module.py").write_text(
        "import os, signal, time\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "end = time.monotonic() + 0.5\n"
        "while time.monotonic() < end:\n"
        "    pass\n"
        "print('imported', flush=True)\n"
    )
    child = started(deep=f"sys.path.insert(0, {str(tmp_path)!r}); import slow_module; {FOREVER}")
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (143, "")
    assert out.splitlines() == ["imported", "unwinding", "terminated; run the same command again."]


def test_what_a_finalizer_swallows_is_raised_again(tmp_path) -> None:
    """Mutation: without the hook this hangs, since nothing is told to the program any more."""
    (tmp_path / "finalized.py").write_text(
        "import os, signal\n"
        "class Final:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        while True:\n"
        "            pass\n"
    )
    child = started(deep=f"sys.path.insert(0, {str(tmp_path)!r}); import finalized; finalized.Final(); {FOREVER}")
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (143, "")
    assert out.splitlines() == ["unwinding", "terminated; run the same command again."]


def test_an_import_without_end_is_ended_by_the_second_signal(tmp_path) -> None:
    (tmp_path / "endless_module.py").write_text("print('importing', flush=True)\nwhile True:\n    pass\n")
    child = started(deep=f"sys.path.insert(0, {str(tmp_path)!r}); import endless_module")
    assert child.stdout.readline() == "importing\n"
    deadline = time.monotonic() + 60
    while child.poll() is None and time.monotonic() < deadline:
        child.send_signal(signal.SIGTERM)
    assert child.returncode == 143


def test_threads_that_outlive_the_end_are_cut_off_in_silence() -> None:
    """A tile that computes on after everything was told and cleaned."""
    stuck = "import threading; threading.Thread(target=time.sleep, args=(600,)).start()"
    child = started(ending=stuck, grace=0.5)
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (143, "")


def test_what_the_caller_ignores_stays_ignored_and_all_is_put_back() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    handlers = {number: signal.getsignal(number) for number in STOPS}
    try:
        with Interrupts() as listening:
            signal.raise_signal(signal.SIGHUP)
            assert listening.asked == []
            assert signal.getsignal(signal.SIGTERM) != handlers[signal.SIGTERM]
        assert {number: signal.getsignal(number) for number in STOPS} == handlers
    finally:
        signal.signal(signal.SIGHUP, before)
