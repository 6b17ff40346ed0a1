"""Where tiles are computed when not in this process: worker processes of our own, or a cluster that runs already."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dask

from geoseg.errors import ConfigError, DeviceError, TemporaryError, UsageError
from geoseg.settings import ScheduleSettings

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

SCHEDULER_TIMEOUT_S = 10.0
"""How long a scheduler may take to answer."""
_LOOK_S = 0.5
_NO_GUARD = "workers start this script anew: put its calls under  if __name__ == '__main__':"


def check_schedule(settings: ScheduleSettings) -> None:
    """See, before any lock is taken, that tiles could be computed where the user wants them.

    Raises:
        UsageError: a worker process is importing a script that starts workers itself.
        DeviceError: no scheduler answers at the given address, or what speaks to a batch system is not installed.
    """
    if settings.cluster not in {None, "local"}:
        _jobqueue(settings)
    if settings.scheduler is not None:
        _shake_hands(settings.scheduler)
    if settings.workers is not None and not _importable_main():
        raise UsageError(_NO_GUARD)


@contextmanager
def losses() -> Iterator[None]:
    """What happens to a cluster while it works, as an error that says to run again."""
    from distributed import CancelledError, KilledWorker
    from distributed.comm.core import CommClosedError

    try:
        yield
    except KilledWorker as error:
        raise TemporaryError(f"a Dask worker died several times on one tile ({error}); run again.") from error
    except (CancelledError, CommClosedError, TimeoutError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TemporaryError(f"the Dask scheduler or its workers were lost ({reason}); run again.") from error


@contextmanager
def connected(settings: ScheduleSettings, gpus: Sequence[str] = ()) -> Iterator[Client]:
    """A connection to the asked cluster; worker processes and jobs of our own end with it.

    Args:
        settings: which cluster.
        gpus: devices of which our worker processes get one each.
    """
    from distributed import Client

    # What fails reaches us with its future; what tornado logs besides are callbacks that come after the end.
    logging.getLogger("tornado.application").setLevel(logging.CRITICAL)
    if settings.scheduler is not None:
        with Client(settings.scheduler, timeout=SCHEDULER_TIMEOUT_S) as client:
            yield client
    elif settings.cluster not in {None, "local"}:
        with _submitted(settings) as cluster, Client(cluster) as client:
            yield client
    else:
        with (
            dask.config.set({"distributed.admin.tick.limit": "1h"}),
            _local_cluster(settings.workers or 1, settings.cluster_options) as cluster,
            Client(cluster) as client,
        ):
            if gpus:
                from geoseg.tiling.one_gpu import OneGpu

                client.register_plugin(OneGpu(tuple(gpus)))
            yield client


class Workers:
    """The workers of a cluster, seen again at most once in `_LOOK_S`.

    Args:
        client: connected.
        patience_s: longest time without any.
    """

    def __init__(self, client: Client, patience_s: float) -> None:
        self._client, self._patience_s = client, patience_s
        self._threads, self._looked, self._seen = 0, -math.inf, time.monotonic()
        if client.cluster is None and not self.threads():
            raise DeviceError("the Dask scheduler has no workers; start some with: dask worker ADDRESS")

    def threads(self) -> int:
        """Threads of all workers; 0 as long as one may still come.

        Raises:
            TemporaryError: there was none for too long, or the scheduler is gone.
        """
        now = time.monotonic()
        if now - self._looked >= _LOOK_S:
            try:
                self._threads, self._looked = sum(self._client.nthreads().values()), now
            except OSError as error:
                raise TemporaryError(f"the Dask scheduler was lost ({error}); run again.") from error
        if self._threads:
            self._seen = now
        elif now - self._seen > self._patience_s:
            raise TemporaryError(f"the Dask cluster had no workers for {self._patience_s:g} s; run again.")
        return self._threads


def _submitted(settings: ScheduleSettings) -> Any:
    """A cluster whose workers are jobs of a batch system.

    Raises:
        ConfigError: the batch system's options are refused.
        DeviceError: its commands are not here, or refuse.
    """
    try:
        cluster = _jobqueue(settings)(**settings.cluster_options)
        cluster.scale(jobs=settings.workers or 1)
    except (TypeError, ValueError) as error:  # dask-jobqueue's word for unknown or missing options
        raise ConfigError(f"cluster_options of --cluster {settings.cluster}: {error}") from error
    except (OSError, RuntimeError) as error:
        raise DeviceError(f"--cluster {settings.cluster}: jobs cannot be submitted here ({error}).") from error
    return cluster


def _jobqueue(settings: ScheduleSettings) -> Any:
    """The class of dask-jobqueue for a batch system.

    Raises:
        DeviceError: dask-jobqueue is not installed.
    """
    try:
        import dask_jobqueue
    except ImportError as error:
        raise DeviceError(
            f"--cluster {settings.cluster} needs dask-jobqueue: pip install 'geoseg[cluster]'."
        ) from error
    return getattr(dask_jobqueue, f"{str(settings.cluster).upper()}Cluster")


def _local_cluster(workers: int, options: Mapping[str, Any]) -> LocalCluster:
    """Worker processes of our own.

    Args:
        workers: how many.
        options: of `distributed.LocalCluster`, over our own.

    Raises:
        ConfigError: the options are refused.
        DeviceError: they do not start.
    """
    from distributed import LocalCluster

    try:
        return LocalCluster(
            n_workers=workers,
            **{
                "threads_per_worker": 1,
                "processes": True,
                "host": "127.0.0.1",
                "dashboard_address": None,
                "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},  # else it warns when two runs want port 8787
                "silence_logs": logging.CRITICAL,
                **options,
            },
        )
    except RuntimeError as error:  # "Nanny failed to start": all that is known of why
        if options:
            raise ConfigError(f"--cluster local: workers do not start with cluster_options {options}.") from error
        raise DeviceError(f"--workers {workers}: worker processes do not start. In a script, {_NO_GUARD}") from error


def _shake_hands(address: str) -> None:
    """See that a scheduler listens, by a deadline; a refused port is told at once.

    `connect` knocks at a closed port until the deadline; a `Client` alone waits for ever where something else
    accepts the connection: the dashboard's port, say.

    Raises:
        DeviceError: nothing that speaks Dask answers in time.
    """
    from distributed import Security
    from distributed.comm.addressing import get_address_host_port
    from distributed.comm.core import connect

    async def shake() -> None:
        socket.create_connection(get_address_host_port(address), SCHEDULER_TIMEOUT_S).close()
        async with asyncio.timeout(SCHEDULER_TIMEOUT_S):
            comm = await connect(address, SCHEDULER_TIMEOUT_S, **Security().get_connection_args("client"))
        await comm.close()

    try:
        with ThreadPoolExecutor(1) as thread:  # the caller's own thread may run an event loop (Jupyter)
            thread.submit(asyncio.run, shake()).result()
    except (OSError, ValueError, MemoryError) as error:  # MemoryError: another server's greeting taken for a length
        reason = str(error) or f"silence for {SCHEDULER_TIMEOUT_S:g} s"
        raise DeviceError(f"--scheduler {address}: no Dask scheduler answers there ({reason}).") from error


def _importable_main() -> bool:
    """False while a spawned worker imports the user's script: it must not start workers of its own."""
    import multiprocessing

    return not getattr(multiprocessing.current_process(), "_inheriting", False)
