"""Imported by the server of `fork_kit`, once for all commands: whatever a run or a training imports.

Nothing here starts a thread: a process that is forked beside one may wait forever for a lock that it held.
"""

import numpy as np
import segmentation_models_pytorch  # noqa: F401
import torch._dynamo  # noqa: F401  (FakeTensorMode wants it)

import geoseg.cli
import geoseg.polygons.coverage
import geoseg.polygons.survey
import geoseg.stories.run
import geoseg.stories.segment
import geoseg.stories.train  # noqa: F401
from geoseg.lookup import mark

# The first kernel of a process makes numba import its types.
mark(np.zeros(1, np.uint8), np.zeros(256, np.bool_))
