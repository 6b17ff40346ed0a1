from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoseg.errors import UsageError
from geoseg.quality import (
    DEFAULT_REASONS,
    PRIORITY,
    REASONS,
    RULES,
    MaskRequest,
    code_of,
    parse_mask,
    rule_of,
    worst,
)

# One letter a reason in the drawings below: Cloud, Shadow, cIrrus, sNow, Unusable, . clear.
LETTERS = dict(zip("CSINU", REASONS, strict=True))


def drawn(*rows: str) -> np.ndarray:
    return np.array([[code_of(LETTERS[c]) if c in LETTERS else 0 for c in row] for row in rows], np.uint8)


def one_band(rows: list[list[int]], dtype: str = "uint16") -> np.ndarray:
    return np.array([rows], dtype)


def bits(*numbers: int) -> int:
    return sum(1 << number for number in numbers)


def test_codes_are_positions() -> None:
    assert [code_of(reason) for reason in REASONS] == [1, 2, 3, 4, 5]
    assert "snow" not in DEFAULT_REASONS


def test_scl() -> None:
    rule = rule_of("s2-scl")
    scl = one_band([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [4, 4, 4, 4]], "uint8")
    assert np.array_equal(rule.reasons(scl), drawn("UU.S", "....", "CCIN", "...."))
    assert not rule.impossible(scl).any()
    assert rule.impossible(one_band([[11, 12, 255, 0]])).tolist() == [[False, True, True, False]]


def test_classi_opaque_hides_cirrus() -> None:
    rule = rule_of("s2-classi")
    opaque = [[1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    cirrus = [[0, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    snow = [[0, 0, 1, 0], [0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    values = np.array([opaque, cirrus, snow], np.uint8)
    assert np.array_equal(rule.reasons(values), drawn("CIN.", "CCC.", "I...", "...."))
    assert np.array_equal(rule.reasons(values, ("snow",)), drawn("..N.", ".NN.", "N...", "...."))
    assert not rule.impossible(values).any()
    assert rule.impossible(np.where(values == 1, 255, 0)).sum() == 7


# USGS's tables of common QA_PIXEL values: OLI (LSDS-1619) and TM/ETM+ (LSDS-1618).
OLI = [
    [1, 21824, 21826, 21888],
    [21890, 22080, 22144, 22280],
    [23888, 23952, 24088, 24216],
    [30048, 54596, 54852, 55052],
]
TM = [[1, 5440, 5442, 5504], [5506, 5696, 5760, 5896], [7440, 7568, 7696, 7824], [7960, 8088, 13664, 5440]]


def test_qa_pixel() -> None:
    rule = rule_of("landsat-qa")
    assert np.array_equal(rule.reasons(one_band(OLI)), drawn("U.C.", "C..C", "SSCC", "NIIC"))
    assert np.array_equal(rule.reasons(one_band(TM)), drawn("U.C.", "C..C", "SSSS", "CCN."))
    assert not rule.impossible(one_band(OLI)).any()
    assert not rule.impossible(one_band(TM)).any()


@pytest.mark.parametrize(
    ("number", "reason"),
    [(0, "unusable"), (1, "cloud"), (2, "cirrus"), (3, "cloud"), (4, "shadow"), (5, "snow"), (6, None), (7, None)],
)
def test_each_bit_of_qa_pixel(number: int, reason: str | None) -> None:
    expected = code_of(reason) if reason else 0
    assert rule_of("landsat-qa").reasons(one_band([[bits(number)]])).item() == expected


@pytest.mark.parametrize(
    "wrong",
    [
        21824 | bits(3),  # clear under a cloud
        21824 & ~bits(6),  # nothing said at all
        21824 + bits(10),  # shadow confidence 2, reserved
        21824 + bits(12),  # snow confidence 2
        21824 + bits(14),  # cirrus confidence 2
        21824 | bits(4),  # shadow that is of low confidence
        21824 | bits(5),
        21824 | bits(2),
    ],
)
def test_what_qa_pixel_cannot_hold(wrong: int) -> None:
    rule = rule_of("landsat-qa")
    assert rule.impossible(one_band([[wrong]])).item()
    assert not rule.impossible(one_band([[wrong | 1]])).item(), "of fill, nothing else is asked"


def test_bqa_of_collection_1() -> None:
    rule = rule_of("landsat-bqa-c1")
    clear = bits(5, 7, 9, 11)
    assert clear == 2720  # USGS's own value for it
    bqa = [
        [1, 2, clear, clear | bits(2)],
        [clear | bits(4, 6), clear | bits(6), clear ^ bits(5, 6), clear | bits(1)],
        [clear | bits(8), clear | bits(10), clear | bits(12), clear | bits(8, 10)],
        [clear | bits(10, 12), clear | bits(4, 6, 8), clear | bits(3), 672],
    ]
    assert np.array_equal(rule.reasons(one_band(bqa)), drawn("UU..", "C..U", "SNIS", "IC.."))
    assert not rule.impossible(one_band(bqa)).any()
    for number in (13, 14, 15):
        assert rule.impossible(one_band([[clear | bits(number)]])).item()
    assert rule.impossible(one_band([[clear ^ bits(7, 8)]])).item()


def test_bqa_from_before_the_collections() -> None:
    rule = rule_of("landsat-bqa-c0")
    clear = bits(12, 14)
    assert clear == 20480  # the sample's most common value
    bqa = [
        [1, bits(1), bits(2), clear],
        [clear | bits(5), clear | bits(4, 5), clear | bits(15), clear ^ bits(14, 15)],
        [clear | bits(13), clear ^ bits(12, 13), clear | bits(10, 11), clear | bits(11)],
        [clear | bits(13, 15), clear | bits(13, 10, 11), clear | bits(2), clear | bits(10)],
    ]
    assert np.array_equal(rule.reasons(one_band(bqa)), drawn("UUU.", "..CC", "I.N.", "CIU."))
    assert not rule.impossible(one_band(bqa)).any()
    for number in (3, 6, 7, 8, 9):
        assert rule.impossible(one_band([[clear | bits(number)]])).item()
        assert not rule.impossible(one_band([[1 | bits(number)]])).item()


def test_the_three_landsat_layouts_refuse_each_other() -> None:
    common = {
        "landsat-qa": [OLI, TM],
        "landsat-bqa-c1": [[[2720, 2800, 2976, 3744, 6816]], [[672, 752, 928, 1696, 680]]],
        "landsat-bqa-c0": [[[20480, 20512, 28672, 36864, 53248]]],
    }
    for name, layers in common.items():
        for layer in layers:
            fitting = [rule for rule in common if not rule_of(rule).impossible(one_band(layer)).any()]
            assert fitting == [name]


def test_fmask() -> None:
    rule = rule_of("hls-fmask")
    fmask = [
        [255, 0, 64, 192],
        [bits(1), bits(2), bits(3), bits(4)],
        [bits(5), bits(0), bits(1, 3), bits(3, 4)],
        [bits(2, 3), bits(0, 3), bits(0, 4), bits(5, 6, 7)],
    ]
    values = one_band(fmask, "uint8")
    assert np.array_equal(rule.reasons(values), drawn("U...", "CCSN", ".ICS", "CSI."))
    assert np.array_equal(rule.reasons(values, ("cloud",)), drawn("....", "CC..", "..C.", "C...")), "fill is no cloud"
    assert rule.impossible(one_band([[255, 256]])).tolist() == [[False, True]]


def test_udm2() -> None:
    rule = rule_of("planet-udm2")
    clear, snow, shadow, light, heavy, cloud = np.eye(6, 16, dtype=np.uint8).reshape(6, 4, 4)
    last = np.zeros((4, 4), np.uint8)
    last[2] = [1, 2, 4, 3]
    confidence = np.full((4, 4), 100, np.uint8)
    values = np.array([clear, snow, shadow, light, heavy, cloud, confidence, last])
    assert np.array_equal(rule.reasons(values), drawn(".NSI", "CC..", "UCUU", "...."))
    assert not rule.impossible(values).any()
    for band, wrong in ((0, 2), (5, 255), (6, 101)):
        broken = values.copy()
        broken[band, 3, 3] = wrong
        assert np.argwhere(rule.impossible(broken)).tolist() == [[3, 3]]


def test_unnamed_layers_mean_what_the_caller_says() -> None:
    values = one_band([[0, 3, 8, 255]], "uint8")
    assert rule_of("nonzero").reasons(values).tolist() == [[0, 5, 5, 5]]
    assert rule_of("values=3,8").reasons(values).tolist() == [[0, 5, 5, 0]]
    assert rule_of("values=255", "snow").reasons(values).tolist() == [[0, 0, 0, 4]]
    assert rule_of("values=-1").reasons(one_band([[-1, 1]], "int16")).tolist() == [[5, 0]]


@given(st.sampled_from(sorted(RULES)), st.sets(st.sampled_from(REASONS)), st.data())
def test_only_reasons_asked_for_count(name: str, asked: set[str], data: st.DataObject) -> None:
    rule = RULES[name]
    values = data.draw(arrays("uint16", (len(rule.bands), 3, 3), elements=st.integers(0, 0xFFFF)))
    codes, flags = rule.reasons(values, asked), rule.flags(values)
    assert set(flags) == set(rule.tells)
    for row, col in np.ndindex(3, 3):
        holding = [reason for reason in PRIORITY if reason in asked and reason in flags and flags[reason][row, col]]
        assert codes[row, col] == (code_of(holding[0]) if holding else 0)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint32", "int64"])
def test_any_integer_type_will_do(dtype: str) -> None:
    for rule in RULES.values():
        values = np.ones((len(rule.bands), 2, 2), dtype)
        assert np.array_equal(rule.reasons(values), rule.reasons(values.astype("uint16")))
        assert np.array_equal(rule.impossible(values), rule.impossible(values.astype("uint16")))


@given(arrays("uint8", (3, 4, 4), elements=st.integers(0, 5)))
def test_the_worst_of_several_layers(layers: np.ndarray) -> None:
    order = [0, *(code_of(reason) for reason in reversed(PRIORITY))]
    expected = np.vectorize(order.__getitem__)(np.vectorize(order.index)(layers).max(axis=0))
    for some in permutations(layers):
        assert np.array_equal(worst(some), expected)


@pytest.mark.parametrize(
    ("text", "file", "rule", "reasons"),
    [
        ("auto", None, None, DEFAULT_REASONS),
        ("auto:cloud,snow", None, None, ("cloud", "snow")),
        ("q.tif", "q.tif", None, DEFAULT_REASONS),
        ("q.tif:landsat-qa", "q.tif", "landsat-qa", DEFAULT_REASONS),
        ("q.tif:landsat-bqa-c2:cloud", "q.tif", "landsat-qa", ("cloud",)),
        ("q.tif:s2-scl:snow,cloud,snow", "q.tif", "s2-scl", ("cloud", "snow")),
        ("q.tif:values=3,8,9", "q.tif", "values=3,8,9", DEFAULT_REASONS),
        ("q.tif:nonzero:shadow", "q.tif", "nonzero", ("shadow",)),
        ("clouds.gpkg:cloud", "clouds.gpkg", None, ("cloud",)),
        (r"C:\scenes\q.tif:s2-scl", r"C:\scenes\q.tif", "s2-scl", DEFAULT_REASONS),
        (r"C:\scenes\q.tif", r"C:\scenes\q.tif", None, DEFAULT_REASONS),
        ("NETCDF:q.nc:qa:hls-fmask:cloud", "NETCDF:q.nc:qa", "hls-fmask", ("cloud",)),
        ("12:30/q.tif", "12:30/q.tif", None, DEFAULT_REASONS),
        ("./cloud", "./cloud", None, DEFAULT_REASONS),
    ],
)
def test_mask_requests(text: str, file: str | None, rule: str | None, reasons: tuple[str, ...]) -> None:
    assert parse_mask(text) == MaskRequest(file, rule, reasons)


def test_no_mask() -> None:
    assert parse_mask("none") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("auto:clowd", "'clowd' is unknown; use cloud, shadow"),
        ("auto:", "'' is unknown"),
        ("auto:cloud:snow", "'cloud:snow' is unknown"),
        ("", "names no layer"),
        ("cloud", "'cloud' names no layer; write auto"),
        ("landsat-qa:cloud", "names no layer"),
        (":landsat-qa", "names no layer"),
        ("q.tif:values=3;8", "'values=3;8' is unknown; use s2-scl"),
        ("q.tif:values=", "'values=' is unknown"),
    ],
)
def test_refused_requests(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_mask(text)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_rule_names_the_known() -> None:
    with pytest.raises(UsageError, match=r"'landsat-bqa' is unknown; use s2-scl, .*planet-udm2, nonzero"):
        rule_of("landsat-bqa")
