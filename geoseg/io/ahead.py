"""Reading ahead: while one window is worked on, the next is read, each file in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def read_ahead(readers: Sequence[Callable[[T], R]], jobs: Iterable[T]) -> Generator[tuple[T, list[R]], None, None]:
    """Yield each job with what every reader makes of it, in order; at most two jobs are in memory.

    Args:
        readers: functions for one thread each.
        jobs: what they are asked, one after the other.
    """
    with ExitStack() as stack:
        pools = [stack.enter_context(ThreadPoolExecutor(1)) for _ in readers]
        waiting: tuple[T, list[Future[R]]] | None = None
        for job in jobs:
            asked = [pool.submit(reader, job) for pool, reader in zip(pools, readers, strict=True)]
            if waiting is not None:
                yield waiting[0], [future.result() for future in waiting[1]]
            waiting = (job, asked)
        if waiting is not None:
            yield waiting[0], [future.result() for future in waiting[1]]
