"""Bit layouts of quality layers, one pair of functions each: what they flag, and what they cannot hold.

All take (band, row, col) stored integers. `name` answers reason → (row, col), True where it holds (several may);
`no_name` answers (row, col), True where the layout cannot hold such a number. The documents that define the layouts
stand in `geoseg.quality`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Stored = NDArray[Any]


def _bits(values: Stored, first: int, count: int = 1) -> Stored:
    return np.asarray(values[0] >> first & (1 << count) - 1)


def _bit(values: Stored, number: int) -> Bools:
    return np.asarray(_bits(values, number) == 1)


def _beyond(values: Stored, largest: int) -> Bools:
    return np.asarray((values[0] < 0) | (values[0] > largest))


def scl(values: Stored) -> dict[str, Bools]:
    """0 no data, 1 saturated or defective, 3 cloud shadow, 8 and 9 cloud (medium, high), 10 cirrus, 11 snow."""
    (codes,) = values
    return {
        "cloud": (codes == 8) | (codes == 9),
        "shadow": codes == 3,
        "cirrus": codes == 10,
        "snow": codes == 11,
        "unusable": (codes == 0) | (codes == 1),
    }


def no_scl(values: Stored) -> Bools:
    """There are twelve classes."""
    return _beyond(values, 11)


def classi(values: Stored) -> dict[str, Bools]:
    """Bands of 0 and 1: opaque cloud, cirrus, snow."""
    opaque, cirrus, snow = values
    return {"cloud": opaque == 1, "cirrus": cirrus == 1, "snow": snow == 1}


def no_classi(values: Stored) -> Bools:
    """Only 0 and 1 are used."""
    return np.asarray(((values != 0) & (values != 1)).any(axis=0))


def qa_pixel(values: Stored) -> dict[str, Bools]:
    """Fill 0, dilated cloud 1, cirrus 2, cloud 3, shadow 4, snow 5; TM and ETM+ never set cirrus."""
    return {
        "cloud": _bit(values, 3) | _bit(values, 1),
        "shadow": _bit(values, 4),
        "cirrus": _bit(values, 2),
        "snow": _bit(values, 5),
        "unusable": _bit(values, 0),
    }


def no_qa_pixel(values: Stored) -> Bools:
    """Reserved confidences, flags that contradict their confidence, and pixels of which nothing is said.

    Bit 6 (clear) should be the opposite of bits 1 and 3, but USGS's own tables of common values list 21826
    (clear and dilated), 21888 (water, not clear) and 7440 (shadow, not clear): only clear under a cloud is
    refused, and a pixel without any of bits 1 to 7.
    """
    wrong = _bit(values, 6) & _bit(values, 3)
    wrong |= _bits(values, 1, 7) == 0
    for flag, confidence in ((4, 10), (5, 12), (2, 14)):
        level = _bits(values, confidence, 2)
        wrong |= (level == 2) | (_bit(values, flag) & (level != 3))
    return np.asarray(wrong & ~_bit(values, 0) | _beyond(values, 0xFFFF))


def bqa_c1(values: Stored) -> dict[str, Bools]:
    """Fill 0, terrain occlusion (TM, ETM+: dropped pixel) 1, cloud 4; shadow 7-8, snow 9-10, cirrus 11-12 when high."""
    return {
        "cloud": _bit(values, 4),
        "shadow": _bits(values, 7, 2) == 3,
        "cirrus": _bits(values, 11, 2) == 3,
        "snow": _bits(values, 9, 2) == 3,
        "unusable": _bit(values, 0) | _bit(values, 1),
    }


def no_bqa_c1(values: Stored) -> Bools:
    """Bits 13-15 are not used, and CFMask's shadow is never of medium confidence."""
    wrong = (_bits(values, 13, 3) != 0) | (_bits(values, 7, 2) == 2)
    return np.asarray(wrong & ~_bit(values, 0) | _beyond(values, 0xFFFF))


def bqa_c0(values: Stored) -> dict[str, Bools]:
    """Fill 0, dropped frame 1, terrain occlusion 2; snow 10-11 and cirrus 12-13 when high; cloud 14-15.

    USGS calls confidence 3 (67-100 %) "yes" and 2 "maybe". Cloud counts from 2 on: seen over an image, "maybe"
    are the rims and the thinner parts of what is plainly cloud. Shadow was never populated.
    """
    return {
        "cloud": _bits(values, 14, 2) >= 2,
        "cirrus": _bits(values, 12, 2) == 3,
        "snow": _bits(values, 10, 2) == 3,
        "unusable": _bits(values, 0, 3) != 0,
    }


def no_bqa_c0(values: Stored) -> Bools:
    """Bits 3 and 6-9 are reserved."""
    wrong = _bit(values, 3) | (_bits(values, 6, 4) != 0)
    return np.asarray(wrong & ~_bit(values, 0) | _beyond(values, 0xFFFF))


def fmask(values: Stored) -> dict[str, Bools]:
    """Cirrus 0 (HLS 1.x; v2.0 never sets it), cloud 1, adjacent 2, shadow 3, snow 4; 255 is fill.

    Adjacent (within 150 m of cloud or shadow) counts as cloud, as NASA's own vegetation indices from HLS do, and
    as Landsat's dilated cloud does.
    """
    seen = values[0] != 255  # all bits of fill are set, and none means what it says
    return {
        "cloud": (_bits(values, 1, 2) != 0) & seen,
        "shadow": _bit(values, 3) & seen,
        "cirrus": _bit(values, 0) & seen,
        "snow": _bit(values, 4) & seen,
        "unusable": ~seen,
    }


def no_fmask(values: Stored) -> Bools:
    """There are eight bits; all of them may be set."""
    return _beyond(values, 255)


def udm2(values: Stored) -> dict[str, Bools]:
    """Bands clear, snow, shadow, light haze, heavy haze, cloud, confidence, and the older unusable data mask.

    Through light haze the ground still shows, as through cirrus; heavy haze counts as cloud. In the last band
    bit 0 is blackfill, bit 1 the older cloud detection, the others are bands with missing or suspect numbers.
    """
    _, snow, shadow, light, heavy, cloud, _, unusable = values
    return {
        "cloud": (cloud == 1) | (heavy == 1) | (unusable & 2 != 0),
        "shadow": shadow == 1,
        "cirrus": light == 1,
        "snow": snow == 1,
        "unusable": unusable | 2 != 2,
    }


def no_udm2(values: Stored) -> Bools:
    """Six bands of 0 and 1, percent, eight bits."""
    wrong = ((values[:6] != 0) & (values[:6] != 1)).any(axis=0)
    wrong |= (values[6] < 0) | (values[6] > 100) | (values[7] < 0) | (values[7] > 255)
    return np.asarray(wrong)
