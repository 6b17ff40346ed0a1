"""The only room that knows Dask: run a function over tiles, bounded, wherever asked.

`dask.threaded` by default (no socket is opened); `distributed` for worker processes on this machine or for
a cluster that is already running.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import dask
import dask.threaded
import numpy as np

from geoseg.errors import GeosegError
from geoseg.io.limits import cpu_count
from geoseg.settings import ScheduleSettings
from geoseg.tiling.cluster import Workers, check_schedule, connected, losses
from geoseg.tiling.crew import Crew

if TYPE_CHECKING:
    from dask.array import Array
    from distributed import Client, Future

    from geoseg.io.scene import Scene

WAKE_S = 1.0
"""How often to see whether a cluster still has workers while none of its tiles finishes."""
FETCH_S = 60.0
"""How long a finished result may be on its way here before it is asked for again."""
DEATHS = 3
"""How often a tile is submitted again after its workers died."""
LEAVE_S = 5.0
"""How long running tiles may take to end when the rest was cancelled."""

T = TypeVar("T")
R = TypeVar("R")


def slots(settings: ScheduleSettings) -> int:
    """Tiles that are computed at the same time on this machine."""
    return settings.workers or (cpu_count() if settings.cluster is None else 1)


def full_crew(settings: ScheduleSettings) -> Crew:
    """A thread for every processor, where this process computes, and one to read; at most two results of each wait."""
    if settings.distributed:
        return Crew(1, waiting=1)
    return Crew(cpu_count(), waiting=cpu_count(), spare=1)


def map_tiles(
    function: Callable[[T], R],
    tiles: Sequence[T],
    settings: ScheduleSettings | None = None,
    *,
    gpus: Sequence[str] = (),
    crew: Crew | None = None,
) -> Generator[R, None, None]:
    """Yield `function(tile)` for every tile, in the order in which they finish.

    A bounded number of results waits to be taken, so memory does not grow with the number of tiles.
    The first error cancels the rest and is raised here; to be closed by who may stop early.

    Args:
        function: picklable when workers are processes.
        tiles: picklable, too.
        settings: where to run; default: threads of this process.
        gpus: devices, in the words of `CUDA_VISIBLE_DEVICES`, of which worker processes of this machine get one each.
        crew: threads of this process, where they do the work; None: `full_crew`.

    Raises:
        UsageError: see `check_schedule`.
        DeviceError: the scheduler cannot be reached, or has no workers.
        TemporaryError: workers died again and again, or all of them and the patience is over, or the scheduler was
            lost; running again helps.
    """
    settings = settings or ScheduleSettings()
    if not settings.distributed:
        yield from _threaded(function, tiles, crew or full_crew(settings))
    else:
        check_schedule(settings)
        with losses(), connected(settings, gpus) as client:
            yield from _distributed(client, function, tiles, settings.patience)


@dataclass(frozen=True, slots=True)
class _Done(Generic[R]):
    """A result, whatever it is, in a queue where None is the end."""

    result: R


def _threaded(function: Callable[[T], R], tiles: Sequence[T], crew: Crew) -> Iterator[R]:
    """One Dask graph of tile tasks without edges: every thread takes its next tile once it has handed over the last.

        thread 1   compute 0 ─► hand over ─► compute 1 ─────────► hand over …
        thread 2   compute 8 ──────► hand over ─► compute 9 ─► hand over …

    The hand-over waits while the queue is full: the crew's `waiting` results wait, and one a thread. (Edges instead,
    compute i after hand-over i − K, were seen to keep one thread idle for a third of a run: Dask's order goes along
    each of these K chains as far as it can, and leaves the last one for the end.)
    """
    results: queue.Queue[_Done[R] | BaseException | None] = queue.Queue(maxsize=crew.waiting)
    stop, runs = threading.Event(), _Runs(tiles, crew.hands)

    def put(item: _Done[R] | BaseException | None) -> None:
        while not stop.is_set():
            try:
                results.put(item, timeout=0.2)
            except queue.Full:
                continue
            return

    def compute(_: int) -> None:
        if not stop.is_set():
            put(_Done(function(runs.take())))  # Dask's own order is another

    graph = {("tile", number): (compute, number) for number in range(len(tiles))}

    def run() -> None:
        try:
            with ThreadPoolExecutor(crew.hands, thread_name_prefix="tile") as pool:
                dask.threaded.get(graph, list(graph), pool=pool)
            put(None)
        except BaseException as error:  # noqa: BLE001 (raised again in the consumer's thread)
            put(error)

    runner = threading.Thread(target=run, name="tiles", daemon=True)
    runner.start()
    try:
        while (item := results.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item.result
    finally:
        stop.set()
        # A tile that runs on for longer is dropped: nobody takes its result, and it writes nothing.
        runner.join(LEAVE_S)


class _Runs(Generic[T]):
    """The tiles as one run for each thread: a tile shares blocks of the files with the one before it in its run.

    Each thread has open files, hence decoded blocks, of its own (`geoseg.io.handles`). Whoever is through with its run
    takes the last tile of the longest one left.

    Args:
        tiles: in an order in which neighbors share blocks.
        hands: threads that take them.
    """

    def __init__(self, tiles: Sequence[T], hands: int) -> None:
        edges = [len(tiles) * hand // hands for hand in range(hands + 1)]
        self._tiles, self._runs = tiles, [deque(range(first, end)) for first, end in pairwise(edges)]
        self._of = threading.local()
        self._new = iter(self._runs)
        self._turn = threading.Lock()

    def take(self) -> T:
        """A tile for the calling thread; each is given once, and only as many are asked for as there are."""
        with self._turn:
            if not hasattr(self._of, "run"):
                self._of.run = next(self._new)
            own: deque[int] = self._of.run
            return self._tiles[own.popleft() if own else max(self._runs, key=len).pop()]


def _distributed(client: Client, function: Callable[[T], R], tiles: Sequence[T], patience_s: float) -> Iterator[R]:
    """Keep a window of tiles on the cluster, two a thread; take them as they finish.

    A tile whose worker died is submitted again: Dask blames all tiles of a lost worker alike, and gives up on them.
    """
    workers, flight = Workers(client, patience_s), _Flight(client, function)
    waiting = iter(tiles)
    try:
        while True:
            for _, tile in zip(range(max(1, 2 * workers.threads()) - len(flight.running)), waiting, strict=False):
                flight.submit(tile)
            if not flight.running:
                return
            for answer in flight.finished():
                if isinstance(answer, GeosegError):
                    raise answer
                yield answer.result
    finally:
        flight.running.clear()


class _Flight(Generic[T, R]):
    """Tiles on the cluster."""

    def __init__(self, client: Client, function: Callable[[T], R]) -> None:
        from distributed.protocol.pickle import dumps

        # With each task, not scattered: data that lived on a lost worker would take every other tile with it.
        self._client, self._packed = client, dumps(function)
        self.running: dict[Future[Any], tuple[T, int]] = {}
        """Future → tile, and how often its workers died."""

    def submit(self, tile: T, deaths: int = 0) -> None:
        """Send a tile."""
        self.running[self._client.submit(_apply, self._packed, tile, pure=False, retries=2)] = tile, deaths

    def finished(self) -> Iterator[_Done[R] | GeosegError]:
        """What has finished by now, or does within `WAKE_S`."""
        from distributed import KilledWorker, wait

        try:
            found = wait(list(self.running), timeout=WAKE_S, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            return
        for future in found:
            try:
                answer = future.result(timeout=FETCH_S)
            except KilledWorker:
                tile, deaths = self.running.pop(future)
                if deaths == DEATHS:
                    raise
                self.submit(tile, deaths + 1)
            except TimeoutError:
                if future.status == "error":  # the tile's own
                    raise
                # Else its worker was lost with the result: it is computed again.
            else:
                del self.running[future]
                yield answer


def _apply(packed: bytes, tile: Any) -> _Done[Any] | GeosegError:
    """Do a tile on a worker; what a user can mend comes back as a value.

    Raised, it would be retried, and lost where its cause (an error of GDAL's) cannot be pickled.
    """
    try:
        return _Done(_unpacked(packed)(tile))
    except GeosegError as error:
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)


@lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Callable[[Any], Any]:
    """The function of the tiles, once a process."""
    from distributed.protocol.pickle import loads

    function: Callable[[Any], Any] = loads(packed)
    return function


def scene_to_dask(scene: Scene, chunk: int) -> Array:
    """Lazy reflectance (band, row, col) float32, NaN where invalid; explicit windows travel, no dataset does."""
    import dask.array as da
    from dask.delayed import delayed

    from geoseg.model.normalize import reflectance

    def block(window: Any) -> np.ndarray:
        chip = scene.read(window)
        values = reflectance(chip.data, scene.scale, scene.offset)
        values[:, ~chip.valid] = np.nan
        return values

    windows = list(scene.grid.window.split(chunk))
    across = -(-scene.grid.width // chunk)
    lazy = [da.from_delayed(delayed(block)(w), (len(scene.bands), *w.shape), dtype=np.float32) for w in windows]
    rows_of_blocks = [da.concatenate(lazy[i : i + across], axis=2) for i in range(0, len(lazy), across)]
    lazy_scene: Array = da.concatenate(rows_of_blocks, axis=1)
    return lazy_scene
