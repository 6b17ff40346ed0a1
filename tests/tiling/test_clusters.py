"""Clusters of every kind: batch systems, GPUs shared out, workers that die, and those that never come back."""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from geoseg.errors import ConfigError, DeviceError, TemporaryError, UsageError
from geoseg.model import device
from geoseg.settings import PredictSettings, ScheduleSettings
from geoseg.tiling import cluster as clusters
from geoseg.tiling import schedule
from geoseg.tiling.cluster import check_schedule
from geoseg.tiling.schedule import map_tiles, slots

FAKE = '''
"""dask-jobqueue's face with processes of this machine behind it; what was asked for is noted."""
import json, os
from distributed import LocalCluster

class SLURMCluster(LocalCluster):
    def __init__(self, *, queue, cores, memory):
        self.asked = {"queue": queue, "cores": cores, "memory": memory}
        super().__init__(
            n_workers=0, threads_per_worker=cores, processes=True, host="127.0.0.1", dashboard_address=None
        )

    def scale(self, n=None, jobs=0):
        if jobs:
            with open(os.environ["JOBS_NOTE"], "w") as note:
                json.dump(self.asked | {"jobs": jobs}, note)
        super().scale(n or jobs)

class PBSCluster:
    def __init__(self):
        raise FileNotFoundError(2, "No such file or directory", "qsub")
'''
SLURM = {"queue": "normal", "cores": 1, "memory": "1GB"}


@pytest.fixture
def jobqueue(tmp_path, monkeypatch) -> Path:
    """A `dask_jobqueue` to import; gives the file in which it notes what it was asked for."""
    (tmp_path / "dask_jobqueue.py").write_text(FAKE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("JOBS_NOTE", str(tmp_path / "note.json"))
    yield tmp_path / "note.json"
    sys.modules.pop("dask_jobqueue", None)


def with_pid(number):
    return number, os.getpid()


def test_jobs_of_a_batch_system_compute_the_tiles(jobqueue):
    asked = ScheduleSettings(cluster="slurm", workers=2, cluster_options=SLURM)
    found = list(map_tiles(with_pid, range(20), asked))
    assert sorted(number for number, _ in found) == list(range(20))
    assert os.getpid() not in {pid for _, pid in found}
    assert json.loads(jobqueue.read_text()) == SLURM | {"jobs": 2}


def test_unknown_options_of_a_batch_system_are_told(jobqueue):
    with pytest.raises(ConfigError, match=r"cluster_options of --cluster slurm: .*'quue'"):
        list(map_tiles(with_pid, range(2), ScheduleSettings(cluster="slurm", cluster_options={"quue": "normal"})))


def test_a_machine_without_the_batch_system(jobqueue):
    with pytest.raises(DeviceError, match=r"--cluster pbs: jobs cannot be submitted here .*qsub"):
        list(map_tiles(with_pid, range(2), ScheduleSettings(cluster="pbs")))


def test_without_dask_jobqueue_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(DeviceError, match=r"--cluster lsf needs dask-jobqueue: pip install 'geoseg\[cluster\]'"):
        check_schedule(ScheduleSettings(cluster="lsf"))


def test_jobs_that_never_start_end_the_wait(jobqueue, monkeypatch):
    monkeypatch.setattr(schedule, "WAKE_S", 0.05)
    monkeypatch.setattr(clusters, "_LOOK_S", 0.05)
    import dask_jobqueue

    monkeypatch.setattr(dask_jobqueue.SLURMCluster, "scale", lambda *_, **__: None)
    asked = ScheduleSettings(cluster="slurm", cluster_options=SLURM, patience=0.5)
    with pytest.raises(TemporaryError, match=r"no workers for 0\.5 s; run again") as caught:
        list(map_tiles(with_pid, range(2), asked))
    assert caught.value.exit_code == 75


def test_the_local_cluster_takes_options():
    asked = ScheduleSettings(cluster="local", cluster_options={"threads_per_worker": 2})
    assert sorted(n for n, _ in map_tiles(with_pid, range(5), asked)) == list(range(5))
    with pytest.raises(ConfigError, match=r"workers do not start with cluster_options .*'nonsense'"):
        list(map_tiles(with_pid, range(2), ScheduleSettings(cluster="local", cluster_options={"nonsense": 1})))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"cluster": "slurm", "scheduler": "tcp://a:1"}, "--cluster starts workers, --scheduler uses running ones"),
        ({"cluster_options": {"queue": "a"}}, "name one"),
        ({"cluster": "kubernetes"}, "'kubernetes' is not one of slurm, pbs"),
        ({"patience": 0.0}, "must be seconds"),
    ],
)
def test_contradictions(asked, said):
    with pytest.raises(UsageError, match=said):
        ScheduleSettings(**asked)


def test_slots_of_a_cluster_are_its_jobs():
    assert slots(ScheduleSettings(cluster="slurm", workers=5)) == 5
    assert slots(ScheduleSettings(cluster="slurm")) == 1


def gpu_of(_number):
    return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")


def test_each_worker_process_sees_a_gpu_of_its_own():
    found = set(map_tiles(gpu_of, range(40), ScheduleSettings(workers=2), gpus=("3", "GPU-8f")))
    assert len(found) == 2
    assert {gpu for _, gpu in found} == {"3", "GPU-8f"}


def test_without_gpus_nothing_is_hidden():
    found = set(map_tiles(gpu_of, range(4), ScheduleSettings(workers=1)))
    assert {gpu for _, gpu in found} == {os.environ.get("CUDA_VISIBLE_DEVICES")}


def die_once(mark, number):
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return gpu_of(number)


def test_a_worker_that_is_started_again_gets_its_gpu_again(tmp_path):
    found = set(map_tiles(partial(die_once, tmp_path / "died"), range(6), ScheduleSettings(workers=1), gpus=("7",)))
    assert (tmp_path / "died").exists()
    assert {gpu for _, gpu in found} == {"7"}


@pytest.mark.parametrize(
    ("asked", "named", "shared"),
    [("cuda", None, ("0", "1", "2")), ("auto", "4,6", ("4", "6")), ("cuda:1", None, ()), ("cpu", None, ())],
)
def test_which_gpus_are_shared_out(asked, named, shared, monkeypatch):
    monkeypatch.setattr(device.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(device.torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert device.visible_gpus(PredictSettings(device=asked)) == shared


@pytest.fixture
def foreign():
    """A cluster that somebody else started: one worker that nobody starts again."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as started:
        yield started


def test_when_all_workers_of_a_cluster_are_gone_the_run_ends(foreign, monkeypatch):
    """The scheduler lives on, and tiles would wait there for ever."""
    monkeypatch.setattr(schedule, "WAKE_S", 0.05)
    monkeypatch.setattr(clusters, "_LOOK_S", 0.05)
    monkeypatch.setattr(schedule, "FETCH_S", 1.0)  # results that went with their worker
    results = map_tiles(with_pid, range(50), ScheduleSettings(scheduler=foreign.scheduler_address, patience=0.5))
    next(results)
    foreign.scale(0)
    with pytest.raises(TemporaryError, match=r"no workers for 0\.5 s; run again"):
        list(results)


def test_workers_that_come_back_in_time_go_on(foreign, monkeypatch):
    monkeypatch.setattr(schedule, "WAKE_S", 0.05)
    monkeypatch.setattr(schedule, "FETCH_S", 1.0)
    results = map_tiles(with_pid, range(30), ScheduleSettings(scheduler=foreign.scheduler_address, patience=120.0))
    found = [next(results)]
    foreign.scale(0)
    foreign.scale(2)
    found += results
    assert sorted(number for number, _ in found) == list(range(30))


def die_sometimes(marks, number):
    """Two tiles kill their worker, the first time."""
    mark = marks / str(number)
    if number in {1, 3} and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_tiles_of_lost_workers_are_computed_elsewhere(tmp_path):
    """Dask allows a tile no loss here, and blames neighbors too: each is submitted again."""
    import dask

    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        found = list(map_tiles(partial(die_sometimes, tmp_path), range(6), ScheduleSettings(workers=1)))
    assert sorted(found) == list(range(6))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
def test_dask_kills_workers_at_random(monkeypatch):
    """`distributed.chaos.KillWorker` on every worker, those that a nanny starts again too: all tiles, or 75.

    A nanny whose worker dies while it starts gives up; without the last one the patience ends the run.
    """
    from distributed.chaos import KillWorker
    from distributed.client import Client

    register = Client.__init__

    def with_chaos(self, *args, **more):
        register(self, *args, **more)
        self.register_plugin(KillWorker(delay="4 s", mode="segfault"))

    monkeypatch.setattr(Client, "__init__", with_chaos)
    found = []
    try:
        for number in map_tiles(slow_square, range(60), ScheduleSettings(workers=2, patience=30.0)):
            found.append(number)  # noqa: PERF402 (what came before an error counts, too)
    except TemporaryError:
        assert len(found) == len(set(found))
        assert set(found) < {n * n for n in range(60)}
    else:
        assert sorted(found) == [n * n for n in range(60)]


def slow_square(number):
    """About a tenth of a second of arithmetic."""
    sum(i * i for i in range(1_000_000))
    return number * number
