"""The picture of a scene for preview and page, taken beside other work."""

from __future__ import annotations

import math
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import numpy as np
from numpy.typing import NDArray

from geoseg.io.overview import picture_window, small_image, small_shape
from geoseg.io.remote import is_remote
from geoseg.io.scene import Scene
from geoseg.io.scratch import has_large_blocks
from geoseg.picture import stretch
from geoseg.settings import ScheduleSettings

TRUE_COLOR = ("red", "green", "blue")
PICTURE_PX = 2048
"""Longer side of what is looked at."""
PIXEL_BYTES = 56
"""Of memory while a picture is taken. Seen: 37 (uint16), 55 (float32)."""
Image = NDArray[np.uint8]


class Photographer:
    """Takes the true color of a scene in a thread of its own; a context.

    Whoever leaves it early waits for what is being decoded, and no longer: a few blocks, of a file of huge ones one.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="picture")
        self._stop = threading.Event()
        self._picture: Future[Image | None] | None = None

    def __enter__(self) -> Self:
        """Wait to be told."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop where it is."""
        self._stop.set()
        self._pool.shutdown()

    def picture(self) -> Future[Image | None]:
        """(row, col, 3) true color, None without the bands; begun when first asked for.

        The future raises InputError when the file cannot be decoded.
        """
        if self._picture is None:
            self._picture = self._pool.submit(_true_color, self._scene, self._stop)
        return self._picture


def early_bytes(scene: Scene, schedule: ScheduleSettings) -> int:
    """Memory of a picture that is taken while a run starts, when processors have little else to do; 0: it waits.

    It waits where memory is bounded, where files come from a server, where one of huge blocks is to be copied first,
    and where there is none to take.
    """
    if schedule.max_memory is not None or not _colored(scene):
        return 0
    if any(map(is_remote, scene.paths)) or has_large_blocks(scene):
        return 0
    return PIXEL_BYTES * math.prod(small_shape(*picture_window(scene).shape, PICTURE_PX))


def _colored(scene: Scene) -> bool:
    return set(TRUE_COLOR) <= set(scene.names)


def _true_color(scene: Scene, stop: threading.Event) -> Image | None:
    if not _colored(scene):
        return None
    return stretch(*small_image(scene.select(TRUE_COLOR), PICTURE_PX, picture_window(scene), stop))
