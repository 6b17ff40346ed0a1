"""Signals at the door: the first one asks, the second one and the clock do not.

The first raises KeyboardInterrupt in the main thread, so that the stack unwinds: no more tiles are taken, those that
are finished are kept, locks and drafts go. Python does that only between two steps of its own, and a kernel or a
GDAL call may take minutes; so a thread that the signal wakes at once ends the process when the time is up, or when
asked twice. What is on the disk is safe at any moment (law 8).

While something is imported the interrupt is held: C++ modules that are just initialized (triton's was seen) answer an
exception with `abort()`. And where Python swallows what is raised, in finalizers (`distributed`'s were seen) and in
callbacks of the garbage collector, it is raised once more right after.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import NoReturn, Self

from geoseg.io.posix import Wakeup, signal_main_thread
from geoseg.log import error_line

GRACE_S = 8.0
"""For unwinding; schedulers kill after 10 to 90 s."""
_HOLD_S = 0.05
"""How often to see whether an import has ended, or an interrupt was swallowed."""
_ECHO_S = 0.3
"""`timeout` sends its signal to the process and then to its whole group: that is one request."""

STOPS = {
    getattr(signal, name): told
    for name, told in {
        "SIGHUP": (129, "hung up"),  # Windows has none
        "SIGINT": (130, "interrupted"),
        "SIGTERM": (143, "terminated"),
    }.items()
    if hasattr(signal, name)
}
"""Signal → exit code and what is said."""


class Interrupts:
    """Listens to the signals of `STOPS`, except those that our caller ignores (nohup); a context manager.

    Attributes:
        asked: the signals that arrived, in order.
    """

    def __init__(self) -> None:
        self.asked: list[signal.Signals] = []
        self._told = False
        self._raised = self._held = False
        self._before = {number: signal.getsignal(number) for number in STOPS}
        self._ours = {number for number, before in self._before.items() if before is not signal.SIG_IGN}
        self._wakeup = Wakeup()
        self._hook = sys.unraisablehook

    def __enter__(self) -> Self:
        """Begin to listen."""
        for number in self._ours:
            signal.signal(number, self._ask)
        sys.unraisablehook = self._swallowed
        self._other = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name="signals", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore what was; once asked to stop, the clock runs on until the process has ended."""
        if self.asked:
            return
        sys.unraisablehook = self._hook
        signal.set_wakeup_fd(self._other)
        for number in self._ours:
            signal.signal(number, self._before[number])
        self._wakeup.hush()

    def tell(self) -> tuple[int, str]:
        """Exit code, and what the caller now says."""
        self._told = True
        return _words(self.asked[-1])

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if not self._held:
            self.asked.append(signal.Signals(number))
        if self._raised:
            return
        self._held = _importing(frame)
        if not self._held:
            self._raised = True
            raise KeyboardInterrupt

    def _swallowed(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Python tells what it has to ignore; here anything that is raised would be ignored, too."""
        if self._raised and issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._raised, self._held = False, True
        else:
            self._hook(unraisable)

    def _watch(self) -> None:
        """In a thread: hears signals while the main thread is deep in a library; repeats one that is held."""
        first, last, repeated = None, signal.SIGTERM, 0
        while True:
            heard = self._wakeup.hear(self._patience(first))
            now = time.monotonic()
            if heard is None:
                if first is not None and now - first >= GRACE_S:
                    self._end(last)
                if self._held:
                    repeated += 1
                    signal_main_thread(last)
            elif not heard:  # hushed
                self._wakeup.close()
                return
            elif repeated:
                repeated -= 1
            elif heard[0] in self._ours:
                last = signal.Signals(heard[0])
                if first is None:
                    first = now
                elif now - first > _ECHO_S:
                    self._end(last)

    def _patience(self, first: float | None) -> float | None:
        """How long to listen before looking around; None: for ever."""
        if first is None:
            return None
        return min(max(first + GRACE_S - time.monotonic(), 1e-3), _HOLD_S)

    def _end(self, number: signal.Signals) -> NoReturn:
        code, text = _words(number)
        if not self._told:
            os.write(2, f"{error_line(text, code)}\n".encode())
        os._exit(code)


def _importing(frame: FrameType | None) -> bool:
    """Whether an import is under way in this frame or in one that called it."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _words(number: signal.Signals) -> tuple[int, str]:
    code, what = STOPS[number]
    return code, f"{what}; run the same command again."
