"""The page of a scene: self-contained, escaped, bounded in size, readable without its program; its map is the map."""

from __future__ import annotations

import base64
import hashlib
import re
from io import BytesIO

import numpy as np
import pytest
from html_kit import Checked
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from scene_page_kit import NASTY, PHOTO, SCHEME, facts, quarters

from geoseg.classes import ClassScheme, LandClass
from geoseg.report import pictures
from geoseg.report.pictures import LOSSLESS_PX, MOST_BYTES, indexed_picture, photo_picture
from geoseg.report.scene import MOST_ROWS, MOST_SWITCHES, REST, scene_page


def opened(address: str | None) -> Image.Image:
    assert address is not None
    return Image.open(BytesIO(base64.b64decode(address.partition(",")[2])))


def rows_of(text: str) -> list[list[str]]:
    """Cells of all table rows."""
    rows = re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    return [[re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row)] for row in rows]


def test_it_needs_nothing_and_may_load_nothing() -> None:
    text = scene_page(facts())
    found = Checked(text)
    sources = [value for _, attrs in found.seen for key, value in attrs.items() if key == "src"]
    assert len(sources) == 2
    assert all(str(source).startswith("data:image/png;base64,") for source in sources)
    rest = re.sub(r"base64,[A-Za-z0-9+/=]*", "", text)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<link|<iframe|<object", rest)
    (policy,) = (a["content"] for a in found.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none';")
    (program,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in str(policy)
    links = [a["href"] for a in found.all("a")]
    assert links == ["#content", "./a%20%26%20b%231.tif"]


def test_what_files_say_is_text() -> None:
    found = Checked(scene_page(facts()))
    assert len(found.all("script")) == 1
    assert len(found.all("img")) == 2
    assert not [attrs for _, attrs in found.seen for key in attrs if key.startswith("on")]
    assert "".join(found.words).count(NASTY) >= 5
    assert [box["data-name"] for box in found.all("input") if box.get("type") == "checkbox"] == [
        NASTY,
        "water",
        "bare",
        "cloud",
    ]


def test_it_can_be_read_without_eyes_and_without_its_program() -> None:
    found = Checked(scene_page(facts()))
    assert found.all("html") == [{"lang": "en"}]
    assert all(attrs.get("alt") for attrs in found.all("img"))
    assert "bare 25.0 %" in str(found.all("img")[1]["alt"])
    ids = [attrs["id"] for _, attrs in found.seen if "id" in attrs]
    assert len(ids) == len(set(ids))
    for names in ("aria-labelledby", "aria-describedby"):
        assert {word for _, a in found.seen for word in str(a.get(names) or "").split()} <= set(map(str, ids))
    assert all(attrs.get("role") == "img" and attrs.get("aria-labelledby") for attrs in found.all("svg"))
    assert all(attrs.get("scope") in {"col", "row"} for attrs in found.all("th"))
    assert len(found.all("caption")) == len(found.all("table"))
    assert {"h1", "h2"} == {tag for tag, _ in found.seen if re.fullmatch(r"h\d", tag)}
    # What does nothing without the program is hidden until it runs.
    controls = [attrs for tag, attrs in found.seen if tag == "input"]
    assert all("hidden" in attrs for attrs in controls if attrs["type"] == "checkbox" or attrs["id"] == "divide")


def test_it_tells_the_figures() -> None:
    text = scene_page(facts())
    rows = rows_of(text)
    assert ["water", "1", "144", "25.0 %", "14,400", "3"] in rows
    assert ["classified", "", "576", "100.0 %", "", "6"] in rows
    assert ["cloud", "", "72.0", "", "", ""] in rows
    assert ["mean", f"{(100 * 51 + 200 * 128 + 700 * 255) / 1000 / 255:.3f}"] in rows
    assert ["median", "1.000"] in rows
    assert ["5 % of pixels are below", "0.200"] in rows
    words = "".join(Checked(text).words)
    for part in (
        "Not found: snow.",
        "1.2 %",
        "mind <this>",
        "Nobody had assessed",
        "geoseg evaluate scene.classes.tif",
    ):
        assert part in words
    # Rows are sorted by area, and so are palette and legend.
    assert words.index(NASTY, words.index("hectares")) < words.index("water", words.index("hectares"))


def test_histogram_bars_are_shares_of_the_pixels_with_a_score() -> None:
    figure = scene_page(facts()).split("histogram-text", 2)[2].split("</svg>")[0]
    bars = [float(height) for height in re.findall(r'<rect.*? height="([\d.]+)"', figure)]
    assert bars == pytest.approx([200 * share / 0.7 for share in (0.1, 0.2, 0.7)], abs=0.06)
    starts = [float(x) for x in re.findall(r'<rect.*? x="([\d.]+)"', figure)]
    # 51 bars of five scores each: 51 is in the eleventh, 128 in the 26th, 255 in the last.
    assert starts == pytest.approx([60.5 + 8 * number for number in (10, 25, 50)])


def test_parts_that_are_not_there_are_not_told() -> None:
    bare = facts(image=None, scores=None, seam=None, changes=(), accuracy="overall 0.5", accuracy_file="x.html")
    found = Checked(scene_page(bare))
    words = "".join(found.words)
    assert "Scores" not in words
    assert "seam disagreement" not in words
    assert "minimum mapping unit" not in words
    assert "overall 0.5" in words
    assert len(found.all("img")) == 1
    assert "divide" not in {attrs.get("id") for _, attrs in found.seen}
    assert "./x.html" in {attrs.get("href") for attrs in found.all("a")}
    assert "Scores" not in "".join(Checked(scene_page(facts(scores=np.zeros(256, np.int64)))).words)


def test_a_map_without_any_class_has_a_page() -> None:
    codes = np.full((4, 5), 255, np.uint8)
    nothing = dict.fromkeys(SCHEME.names, 0)
    text = scene_page(facts(codes=codes, image=None, areas_ha=nothing, pixels=nothing, polygons=nothing))
    assert ["classified", "", "0", "0.0 %", "", "0"] in rows_of(text)
    assert "Area of each class" not in text


def test_the_pictures_are_the_image_and_the_map() -> None:
    found = Checked(scene_page(facts())).all("img")
    photo, shown = (opened(one["src"]) for one in found)
    assert photo.convert("RGB").getcolors() == [(quarters().size, PHOTO)]
    assert shown.mode == "P"
    colors = {2: (0, 130, 60), 1: (0, 90, 200), 7: (230, 200, 40), 255: (226, 230, 234)}
    rgb = np.asarray(shown.convert("RGBA").convert("RGB"))
    for code, color in colors.items():
        assert (rgb[quarters() == code] == color).all()
    assert [(one["width"], one["height"]) for one in found] == [("240", "240")] * 2


@given(
    st.lists(
        st.lists(st.integers(0, 255) | st.integers(0, 70_000), min_size=1, max_size=4), min_size=1, max_size=256
    ).filter(lambda groups: len({code for group in groups for code in group}) == sum(map(len, groups))),
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=9),
    st.randoms(use_true_random=False),
)
def test_each_pixel_has_the_number_of_its_group(groups, shape, random) -> None:
    assert_indexed(groups, shape, random)


def assert_indexed(groups, shape, random) -> None:
    """Law of the page's map: palette entry i belongs to group i, so that a switch turns off its class and no other."""
    numbers = np.array([random.randrange(len(groups)) for _ in range(shape[0] * shape[1])]).reshape(shape)
    codes = np.array([random.choice(groups[n]) for n in numbers.ravel()], np.int32).reshape(shape)
    colors = [(n, 255 - n, n // 2) for n in range(len(groups))]
    for dtype in (np.int32, np.uint8) if codes.max() < 256 else (np.int32,):
        page = opened(indexed_picture(codes.astype(dtype), groups, colors).address)
        np.testing.assert_array_equal(np.asarray(page), numbers)
        np.testing.assert_array_equal(np.asarray(page.convert("RGBA").convert("RGB")), np.array(colors)[numbers])


def test_mutation_a_palette_in_the_order_of_codes_turns_it_red(monkeypatch) -> None:
    """Named mutation: numbers of groups sorted as their codes are."""
    import random

    original = pictures._group_index
    monkeypatch.setattr(pictures, "_group_index", lambda codes, groups: original(codes, sorted(groups)))
    with pytest.raises(AssertionError):
        assert_indexed([[9], [3, 4]], (5, 5), random.Random(1))


def test_a_code_of_no_group_is_no_silence() -> None:
    for dtype in (np.int32, np.uint8):
        with pytest.raises(ValueError, match="code 5 is in no group"):
            indexed_picture(np.array([[1, 5]], dtype), [[1], [9]], [(0, 0, 0)] * 2)
    with pytest.raises(ValueError, match="257 groups"):
        indexed_picture(np.zeros((2, 2)), [[n] for n in range(257)], [(0, 0, 0)] * 257)


def test_a_page_of_noise_stays_below_5_mb(monkeypatch) -> None:
    """The worst that pictures can be, and more classes than the palette has."""
    monkeypatch.setattr(pictures, "MOST_BYTES", MOST_BYTES // 16)  # a sixteenth of the pixels, of the time
    rng = np.random.default_rng(1)
    n = 700
    scheme = ClassScheme(tuple(LandClass(code, f"class {code}", (1, 2, 3)) for code in range(n)))
    areas = {name: 1.0 + code for code, name in enumerate(scheme.names)}
    counts = dict.fromkeys(scheme.names, 1)
    codes = rng.integers(0, n, (512, 512)).astype(np.uint16)
    image = rng.integers(0, 256, (512, 512, 3)).astype(np.uint8)
    image = np.concatenate([image, image], axis=1)  # more than is stored without loss
    codes = np.concatenate([codes, codes], axis=1)
    assert image.shape[0] * image.shape[1] > LOSSLESS_PX
    page = facts(scheme=scheme, areas_ha=areas, pixels=counts, polygons=counts, codes=codes, image=image)
    text = scene_page(page)
    found = Checked(text)
    sizes = [len(base64.b64decode(str(one["src"]).partition(",")[2])) for one in found.all("img")]
    assert max(sizes) <= MOST_BYTES // 16
    assert min(sizes) > MOST_BYTES // 16 / 2  # no smaller than need be
    words = len(text) - sum(len(str(one["src"])) for one in found.all("img"))
    assert 2 * MOST_BYTES * 4 / 3 + words < 5e6
    boxes = [box for box in found.all("input") if box.get("type") == "checkbox"]
    assert len(boxes) == MOST_SWITCHES + 1
    assert boxes[-1]["data-name"] == f"{n - MOST_SWITCHES} more classes"
    shown = opened(found.all("img")[1]["src"])
    assert shown.getpalette()[3 * MOST_SWITCHES : 3 * MOST_SWITCHES + 3] == list(REST)
    assert f"{n - MOST_ROWS} smaller classes are not in the table" in text


def test_large_images_are_jpeg_of_their_own_size() -> None:
    rows, cols = np.mgrid[0:600, 0:700]
    image = np.stack([rows % 256, cols % 256, (rows + cols) % 256], axis=-1).astype(np.uint8)
    picture = photo_picture(image)
    assert picture.address.startswith("data:image/jpeg;base64,")
    assert (picture.width, picture.height) == opened(picture.address).size == (700, 600)


def test_the_same_facts_give_the_same_bytes() -> None:
    assert scene_page(facts()) == scene_page(facts())


def test_an_image_of_another_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit the class map"):
        facts(image=np.zeros((3, 3, 3), np.uint8))
