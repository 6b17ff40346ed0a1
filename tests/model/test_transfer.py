"""A GPU's streams, with a stand-in for `torch.cuda` that writes down in which order things are asked for."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from builders import unet_model

from geoseg.arrays import Chip
from geoseg.grid import Window
from geoseg.model.device import Resolved
from geoseg.model.predictor import Predictor
from geoseg.model.reduce import Reduction
from geoseg.model.transfer import STAGED, Direct, Streamed

CPU = torch.device("cpu")
EVERYWHERE = (slice(0, 64), slice(0, 64))


class FakeCuda:
    """Streams and events that note (thread, what); an event also notes whose it is."""

    def __init__(self):
        self.log, self.lock, self.current = [], threading.Lock(), threading.local()
        self.names = iter(("copies", "work"))

    def note(self, what):
        with self.lock:
            self.log.append((threading.get_ident(), what))

    def is_available(self):
        return False

    def default_stream(self, _device):
        return "default"

    def Stream(self, _device):  # noqa: N802 (torch's name)
        return FakeStream(self, next(self.names))

    @contextmanager
    def stream(self, stream):
        before, self.current.name = getattr(self.current, "name", "default"), stream.name
        yield
        self.current.name = before


class FakeStream:
    def __init__(self, cuda, name):
        self.cuda, self.name = cuda, name

    def wait_stream(self, other):
        self.cuda.note(f"{self.name} waits for {other}")

    def wait_event(self, event):
        self.cuda.note(f"{self.name} waits for {event.of}")

    def record_event(self):
        return FakeEvent(self.cuda, self.name)


class FakeEvent:
    def __init__(self, cuda, of):
        self.cuda, self.of = cuda, of
        cuda.note(f"event of {of}")

    def synchronize(self):
        self.cuda.note(f"host waits for {self.of}")


@pytest.fixture
def cuda(monkeypatch):
    fake = FakeCuda()
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda _tensor, stream: fake.note(f"kept for {stream.name}"))
    return fake


def test_a_batch_waits_for_its_copy_and_the_host_for_its_answer(cuda):
    transfer = Streamed(CPU, cuda)

    def compute(batch):
        cuda.note(f"compute on {cuda.current.name}")
        return {"sum": batch[0] + batch[1]}

    answer = transfer.run([torch.ones(2, 3), torch.full((2, 3), 2.0)], compute)
    np.testing.assert_array_equal(answer["sum"], np.full((2, 3), 3.0))
    assert [what for _, what in cuda.log] == [
        "work waits for default",
        "event of copies",
        "work waits for copies",
        "kept for work",
        "kept for work",
        "compute on work",
        "event of work",
        "host waits for work",
    ]


def test_many_threads_take_turns_and_only_few_batches_are_there(cuda):
    """The next batch is sent while one is computed, but no third one; and never do two compute at once."""
    transfer, there, computing, most = Streamed(CPU, cuda), [], [], [0, 0]
    gate, both = threading.Lock(), threading.Event()

    class Counted(torch.Tensor):
        def to(self, *_args, **_kwargs):
            with gate:
                there.append(1)
                most[0] = max(most[0], len(there))
                if len(there) == STAGED:
                    both.set()
            return self

    def compute(batch):
        with gate:
            computing.append(1)
            most[1] = max(most[1], len(computing))
        assert both.wait(20), "no other batch arrives while one is computed"
        answer = batch[0].as_subclass(torch.Tensor) * 2
        with gate:
            computing.pop()
            there.pop()
        return {"double": answer}

    with ThreadPoolExecutor(6) as pool:
        batches = [torch.full((2,), float(n)).as_subclass(Counted) for n in range(12)]
        answers = list(pool.map(lambda batch: transfer.run([batch], compute)["double"].tolist(), batches))
    assert answers == [[2.0 * n] * 2 for n in range(12)]
    assert most == [STAGED, 1]


def test_a_failed_batch_leaves_room_for_the_next(cuda):
    transfer = Streamed(CPU, cuda)

    def fail(_batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    for _ in range(2 * STAGED):
        with pytest.raises(torch.OutOfMemoryError):
            transfer.run([torch.ones(1)], fail)
    assert transfer.run([torch.ones(1)], lambda batch: {"same": batch[0]})["same"].tolist() == [1.0]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64"])
def test_through_streams_a_predictor_answers_the_same(cuda, tmp_path, dtype):
    model = unet_model(tmp_path / "m.safetensors")
    random, valid = np.random.default_rng(0), np.ones((64, 64), bool)
    data = [random.integers(0, 200, (4, 64, 64)).astype(dtype) for _ in range(5)]
    chips = [Chip(pixels, valid[None], valid, Window(0, 0, 64, 64)) for pixels in data]
    found = []
    for transfer in (Direct(CPU), Streamed(CPU, cuda)):
        predictor = Predictor.load(model, model.spec.band_names, Resolved("cpu", "fp32", 2))
        predictor.whole_batches, predictor.transfer = True, transfer
        parts = predictor.reduced(chips, [EVERYWHERE] * 5, Reduction(layers=("confidence",)), (1.0,) * 4, (0.0,) * 4)
        found.append([layer for part in parts for layer in part.values()])
    for ours, expected in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert [what for _, what in cuda.log].count("host waits for work") == 3


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_so_many_threads_compute_and_the_others_wait(at_once):
    """Those that compute meet at a barrier of just as many: fewer would wait there for ever, more are counted."""
    transfer, meet, lock = Direct(CPU, at_once), threading.Barrier(at_once, timeout=30), threading.Lock()
    inside, most = [], []

    def compute(batch):
        with lock:
            inside.append(1)
            most.append(len(inside))
        meet.wait()
        with lock:
            inside.pop()
        return {"same": batch[0]}

    with ThreadPoolExecutor(4 * at_once) as pool:
        list(pool.map(lambda n: transfer.run([torch.tensor([n])], compute), range(6 * at_once)))
    assert max(most) == at_once


def test_a_predictor_is_limited_and_freed_again(tmp_path):
    model = unet_model(tmp_path / "m.safetensors")
    predictor = Predictor.load(model, model.spec.band_names, Resolved("cpu", "fp32", 1))
    free = predictor.transfer
    predictor.limit(2)
    with predictor.transfer._turn, predictor.transfer._turn:
        assert not predictor.transfer._turn.acquire(blocking=False)
    predictor.limit(None)
    assert type(predictor.transfer._turn) is type(free._turn)
