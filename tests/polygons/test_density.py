"""Figures a pixel, counted in blocks: exact for one block, with a margin for several."""

from __future__ import annotations

import numpy as np
import pytest
from engine_kit import text_codes

from geoseg.polygons.density import Density, density


def test_one_block_is_counted_exactly() -> None:
    """A square of four vertices in a field that reaches from top to bottom, a strip that does, one that does not."""
    codes = text_codes("1112 1312 1112 1114")
    found = density([codes], None)
    # Arcs: the ring of 3; 1 | 2, 2 | 4, 1 | 4; frames of 1, 2 and 4. 2 and 4 end above and below.
    assert found == Density(4 / 16, 7 / 16, (5 + 2 + 2 + 2 + 4 + 3 + 3) / 16, 4 / 16, (5 + 2 + 2 + 4) / 16)


def test_nodata_and_skipped_classes_do_not_count() -> None:
    codes = text_codes("1112 1312 1112 1114")
    assert density([codes], 1).components == 3 / 16
    assert density([codes], 1, {2}).components == 2 / 16
    assert density([codes], 1).lasting_arcs == 0


def test_several_blocks_give_their_mean_and_two_standard_errors() -> None:
    flat, rich = np.ones((8, 8), np.uint8), np.indices((8, 8)).sum(axis=0).astype(np.uint8) % 2
    assert density([flat, flat], None) == density([flat], None)
    mean, spread = (1 + 64) / 2 / 64, 63 / 64 / 2
    assert density([flat, rich], None).components == pytest.approx(mean + 2 * spread)


def test_less_than_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="less than nothing"):
        Density(0, 0, -1, 0, 0)
