"""Reading ahead keeps order, threads and errors apart."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from geoseg.io.ahead import read_ahead


def test_every_job_meets_every_reader_in_order() -> None:
    found = list(read_ahead([lambda job: job + 1, lambda job: -job], range(5)))
    assert found == [(job, [job + 1, -job]) for job in range(5)]
    assert list(read_ahead([lambda job: job], [])) == []


def test_each_reader_has_one_thread_and_reads_one_job_ahead() -> None:
    threads: list[set[int]] = [set(), set()]
    begun = [threading.Event() for _ in range(6)]

    def reader(number: int):
        def read(job: int) -> int:
            threads[number].add(threading.get_ident())
            begun[job].set()
            return job

        return read

    with closing(read_ahead([reader(0), reader(1)], range(6))) as parts:
        for job, _ in parts:
            if job < 5:
                assert begun[job + 1].wait(10)  # the next is on its way
            if job < 4:
                assert not begun[job + 2].is_set()  # but no more
    assert [len(found) for found in threads] == [1, 1]
    assert not threads[0] & (threads[1] | {threading.get_ident()})


def test_an_error_comes_out_where_it_belongs() -> None:
    def read(job: int) -> int:
        if job == 2:
            raise RuntimeError("no more")
        return job

    parts = read_ahead([read], range(9))
    assert [next(parts)[0] for _ in range(2)] == [0, 1]
    with pytest.raises(RuntimeError, match="no more"):
        next(parts)
