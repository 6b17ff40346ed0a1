"""Tiles through threads, processes and clusters: bounded, cancelled by the first error, in any order."""

import itertools
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import DeviceError, InputError, ModelOutputError, TemporaryError, UsageError
from geoseg.settings import ScheduleSettings
from geoseg.tiling import cluster as clusters
from geoseg.tiling import schedule
from geoseg.tiling.cluster import check_schedule
from geoseg.tiling.crew import Crew
from geoseg.tiling.schedule import full_crew, map_tiles, slots

THREADS = 3


@pytest.fixture
def three_threads(monkeypatch):
    monkeypatch.setattr(schedule, "cpu_count", lambda: THREADS)


def square(number):
    return number * number


@given(count=st.integers(0, 60), threads=st.integers(1, 5))
def test_every_tile_once(count, threads):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "cpu_count", lambda: threads)
        assert sorted(map_tiles(square, range(count))) == [n * n for n in range(count)]


def assert_neighbors(runs, count, hands, coming):
    """Each tile is taken once, and a thread goes on with its neighbor until all up to another's first are taken."""
    begins, taken, last = [count * hand // hands for hand in range(hands)], set(), {}
    with ExitStack() as stack:
        pools = [stack.enter_context(ThreadPoolExecutor(1)) for _ in range(hands)]
        for hand in coming:
            tile = pools[hand].submit(runs.take).result()
            assert tile not in taken
            if hand in last and tile != last[hand] + 1:
                end = min((begin for begin in begins if begin > last[hand]), default=count)
                assert taken >= set(range(last[hand], end))
            taken.add(tile)
            last[hand] = tile
    assert taken == set(range(count))


@settings(max_examples=50)
@given(hands=st.integers(1, 5), data=st.data())
def test_each_thread_walks_along_neighbors_until_it_helps_others(hands, data):
    coming = data.draw(st.lists(st.integers(0, hands - 1), max_size=40))
    assert_neighbors(schedule._Runs(range(len(coming)), hands), len(coming), hands, coming)


def test_mutation_one_list_for_all_threads_turns_it_red():
    runs = schedule._Runs(range(12), 1)
    runs._new = itertools.repeat(runs._runs[0])
    with pytest.raises(AssertionError):
        assert_neighbors(runs, 12, 3, [0, 1, 2] * 4)


@pytest.mark.parametrize("answer", [None, 0, ValueError("a value, not an accident")])
def test_any_result_is_a_result(answer, three_threads):
    assert list(map_tiles(lambda _: answer, range(10))) == [answer] * 10


class Counted:
    """Counts results that were computed and not yet taken."""

    def __init__(self):
        self.change = threading.Condition()
        self.computed = self.taken = self.most = 0

    def __call__(self, number):
        with self.change:
            self.computed += 1
            self.most = max(self.most, self.computed - self.taken)
            self.change.notify_all()
        return number

    def take(self):
        with self.change:
            self.taken += 1

    def wait_for(self, computed):
        with self.change:
            assert self.change.wait_for(lambda: self.computed >= computed, timeout=60)


@settings(max_examples=20)
@given(threads=st.integers(1, 5), waiting=st.integers(1, 5))
def test_as_many_results_wait_as_the_crew_allows(threads, waiting):
    """A consumer that takes one only when the pool has computed all that it may."""
    counted = Counted()
    for _ in map_tiles(counted, range(60), crew=Crew(threads, waiting)):
        counted.wait_for(min(40, counted.taken + threads))  # the last tiles may wait for each other
        counted.take()
    assert counted.computed == counted.taken == 60
    assert counted.most <= waiting + threads + 1  # one more is in the consumer's hands


def test_a_crew_is_as_large_as_the_machine_or_as_told(monkeypatch):
    monkeypatch.setattr(schedule, "cpu_count", lambda: 3)
    assert full_crew(ScheduleSettings()) == Crew(3, 3, spare=1)
    assert full_crew(ScheduleSettings(workers=8)) == Crew(1, 1)  # this process only takes
    seen = set()
    list(map_tiles(lambda _: seen.add(threading.get_ident()), range(20), crew=Crew(1, 1)))
    assert len(seen) == 1
    with pytest.raises(ValueError, match="cannot work"):
        Crew(1, 0)


def test_mutation_an_unbounded_queue_turns_it_red(three_threads, monkeypatch):
    """Named mutation: nothing holds the pool back, so results pile up while nobody takes them."""
    monkeypatch.setattr(schedule.queue, "Queue", lambda **_: queue.SimpleQueue())
    counted = Counted()
    for _ in map_tiles(counted, range(200)):
        counted.wait_for(min(200, counted.taken + 3 * THREADS))
        counted.take()
    assert counted.most > 2 * THREADS + 1


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_no_thread_is_idle_while_tiles_wait(threads, monkeypatch):
    """Each tile waits until all threads have one; with one thread idle they would wait for ever."""
    monkeypatch.setattr(schedule, "cpu_count", lambda: threads)
    meeting = threading.Barrier(threads, timeout=60)

    def work(number):
        meeting.wait()
        return number

    assert sorted(map_tiles(work, range(12 * threads))) == list(range(12 * threads))


def test_results_come_as_they_finish(three_threads):
    """Tile 0 waits for tile 1: in order they would wait for ever."""
    second = threading.Event()

    def work(number):
        if number == 0:
            assert second.wait(60)
        elif number == 1:
            second.set()
        return number

    found = list(map_tiles(work, range(5)))
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert found.index(0) > 0


def test_the_first_error_cancels_the_rest_and_is_raised(three_threads):
    counted = Counted()

    def work(number):
        if number == 7:
            raise ModelOutputError("tile 7 has no sense")
        return counted(number)

    with pytest.raises(ModelOutputError, match="tile 7"):
        list(map_tiles(work, range(500)))
    assert counted.computed < 100
    assert "tiles" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("accident", [KeyboardInterrupt, SystemExit, StopIteration])
def test_stranger_accidents_are_raised_too(accident, three_threads):
    def work(number):
        if number == 3:
            raise accident
        return number

    with pytest.raises((accident, RuntimeError)):
        list(map_tiles(work, range(50)))


def test_a_generator_closed_early_stops_the_pool(three_threads):
    counted = Counted()
    results = map_tiles(counted, range(10_000))
    next(results)
    results.close()
    assert counted.computed < 100
    names = {thread.name for thread in threading.enumerate()}
    assert not any(name.startswith("tile") for name in names)


def test_an_error_of_the_consumer_stops_the_pool(three_threads):
    counted = Counted()

    def consume():
        for number in map_tiles(counted, range(10_000)):
            if number >= 0:
                raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        consume()
    assert counted.computed < 100


def test_threads_open_no_socket(three_threads, socket_disabled):
    assert sorted(map_tiles(square, range(5))) == [0, 1, 4, 9, 16]


def with_pid(number):
    return number, os.getpid()


def fail_at(bad, number):
    if number == bad:
        raise ModelOutputError(f"tile {number} has no sense")
    return number


def test_workers_are_processes():
    found = list(map_tiles(with_pid, range(12), ScheduleSettings(workers=2)))
    assert sorted(number for number, _ in found) == list(range(12))
    pids = {pid for _, pid in found}
    assert os.getpid() not in pids
    assert len(pids) == 2


def test_an_error_in_a_process_keeps_its_class():
    with pytest.raises(ModelOutputError, match="tile 3 has no sense") as caught:
        list(map_tiles(partial(fail_at, 3), range(12), ScheduleSettings(workers=1)))
    assert caught.value.exit_code == 70


class UnpicklableError(Exception):
    """Like rasterio's errors of GDAL: three arguments in, one kept for pickle."""

    def __init__(self, number, code, text):
        super().__init__(f"{number} {code} {text}")


def damaged(number):
    raise InputError(f"tile {number} cannot be decoded") from UnpicklableError(1, 2, "ZIPDecode: bad block")


def test_an_error_whose_cause_cannot_travel_keeps_its_class():
    with pytest.raises(InputError, match=r"^tile 0 cannot be decoded$") as caught:
        list(map_tiles(damaged, [0], ScheduleSettings(workers=1)))
    assert caught.value.exit_code == 65


def die_once(mark, number):
    """The worker that gets tile 2 first is killed; the next one does it."""
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_lost_worker_costs_no_tile(tmp_path):
    work = partial(die_once, tmp_path / "died")
    assert sorted(map_tiles(work, range(8), ScheduleSettings(workers=1))) == list(range(8))
    assert (tmp_path / "died").exists()


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_tile_that_kills_every_worker_says_run_again():
    import dask

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        pytest.raises(TemporaryError, match=r"died several times on one tile .*; run again") as caught,
    ):
        list(map_tiles(die, [0], ScheduleSettings(workers=1)))
    assert caught.value.exit_code == 75


def accidents():
    from distributed import CancelledError
    from distributed.client import FutureCancelledError
    from distributed.comm.core import CommClosedError

    return [
        CancelledError("tile-1"),
        FutureCancelledError("tile-1", "scheduler-connection-lost"),
        CommClosedError("in <TCP>"),
        TimeoutError(),
    ]


@pytest.mark.parametrize("accident", accidents(), ids=lambda a: type(a).__name__)
def test_a_lost_scheduler_says_run_again(accident, monkeypatch):
    def lost(*_):
        raise accident
        yield

    monkeypatch.setattr(schedule, "_distributed", lost)
    with pytest.raises(TemporaryError, match=r"were lost .*; run again") as caught:
        list(map_tiles(square, range(3), ScheduleSettings(workers=1)))
    assert "\n" not in str(caught.value)


def test_a_script_without_a_guard_is_told_before_anything_else(monkeypatch):
    import multiprocessing

    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(UsageError, match="if __name__ == '__main__'"):
        check_schedule(ScheduleSettings(workers=1))
    check_schedule(ScheduleSettings())  # threads start no script


def test_a_script_without_a_guard_ends_with_what_to_do(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from geoseg.settings import ScheduleSettings\n"
        "from geoseg.tiling.schedule import map_tiles\n"
        "print(list(map_tiles(abs, range(3), ScheduleSettings(workers=1))))\n"
    )
    done = subprocess.run([sys.executable, script], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("geoseg.errors.DeviceError: --workers 1: worker processes do not start")
    assert "if __name__ == '__main__'" in last


@pytest.fixture
def cluster():
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=0, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as started:
        yield started


def test_a_running_scheduler_is_used_and_left_running(cluster):
    asked = ScheduleSettings(scheduler=cluster.scheduler_address)
    with pytest.raises(DeviceError, match="has no workers; start some with: dask worker"):
        list(map_tiles(square, range(3), asked))
    cluster.scale(1)
    cluster.wait_for_workers(1)
    for _ in range(2):
        assert sorted(map_tiles(square, range(9), asked)) == [n * n for n in range(9)]


@pytest.fixture
def server():
    """Listens on a port; what it greets callers with is set by the test."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def closed_port():
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def assert_no_answer(where, monkeypatch):
    monkeypatch.setattr(clusters, "SCHEDULER_TIMEOUT_S", 0.5)
    with pytest.raises(DeviceError, match="no Dask scheduler answers there") as caught:
        list(map_tiles(square, range(3), ScheduleSettings(scheduler=where)))
    assert where in str(caught.value)
    assert caught.value.exit_code == 69


def test_a_closed_port_is_told_at_once():
    started = time.monotonic()
    with pytest.raises(DeviceError, match="no Dask scheduler answers there"):
        check_schedule(ScheduleSettings(scheduler=f"tcp://127.0.0.1:{closed_port()}"))
    assert time.monotonic() - started < clusters.SCHEDULER_TIMEOUT_S / 2


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:{port}", "127.0.0.1:{port}", "nowhere://1", "127.0.0.1:x"])
def test_no_scheduler_there(address, monkeypatch):
    assert_no_answer(address.format(port=closed_port()), monkeypatch)


def test_a_server_that_never_says_a_word(server, monkeypatch):
    assert_no_answer(f"tcp://127.0.0.1:{server.getsockname()[1]}", monkeypatch)


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_a_server_that_is_no_scheduler(server, greeting, monkeypatch):
    def greet():
        for _ in range(2):  # somebody who looks whether the port is open, then the handshake
            caller, _ = server.accept()
            with suppress(ConnectionError), caller:
                caller.sendall(greeting)

    thread = threading.Thread(target=greet)
    thread.start()
    assert_no_answer(f"tcp://127.0.0.1:{server.getsockname()[1]}", monkeypatch)
    thread.join()


def test_slots():
    assert slots(ScheduleSettings(workers=7)) == 7
    assert slots(ScheduleSettings()) == schedule.cpu_count() >= 1
