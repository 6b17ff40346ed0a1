"""The page of a scene in a real browser: slider, switches, zoom, keys, light and dark, print, no program at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from scene_page_kit import NASTY, PHOTO, write_page

from geoseg.report.batch import batch_page

pytestmark = pytest.mark.slow
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True}
LONG = "S2A_MSIL2A_20230615T155821_N0509_R097_T18SVG_20230615T222200"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WATER, FOREST, BARE, CLOUD = (0, 90, 200), (0, 130, 60), (230, 200, 40), (226, 230, 234)

# Every text against what lies behind it, as WCAG 2.1 computes contrast; that of switched-off controls is not asked.
CONTRASTS = """
() => {
  const skipped = ["SCRIPT", "STYLE", "TITLE", "DESC", "NOSCRIPT"];
  const numbers = (css) => css.match(/[\\d.]+/g).map(Number);
  const light = (color) => color.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || one.disabled || skipped.includes(one.tagName.toUpperCase())) continue;
    let paper, behind = one;
    do {
      paper = numbers(getComputedStyle(behind).backgroundColor);
      behind = behind.parentElement;
    } while (behind && paper[3] === 0);
    const style = getComputedStyle(one);
    const ink = numbers(one instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(ink), light(paper)].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), one.tagName, one.textContent.slice(0, 40)]);
  }
  return found;
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright to test pages in a browser")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: install the package chromium")
    # Chromium's sandbox refuses to run as root, as tests in containers do.
    alone = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=alone)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    return write_page(tmp_path_factory.mktemp("page") / "scene.report.html")


@pytest.fixture
def opened(browser) -> Iterator[Callable[..., Any]]:
    """Opens a file; at the end there must have been no error and no request for anything but the file itself."""
    contexts, problems, asked = [], [], []

    def open_page(path: Path, **options: Any) -> Any:
        context = browser.new_context(**({"viewport": {"width": 1200, "height": 1400}} | options))
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []
    assert [url for url in asked if not re.match(r"file://[^#]*\.report\.html$|data:image/|blob:null/", url)] == []


def color_at(page: Any, x: float, y: float) -> tuple[int, ...]:
    """Color of the stage, x and y as parts of it."""
    picture = Image.open(BytesIO(page.locator("#stage").screenshot(animations="disabled"))).convert("RGB")
    return picture.getpixel((int(x * picture.width), int(y * picture.height)))


def shown(page: Any, name: str) -> float:
    """A custom property of the stage, as a number."""
    return float(page.evaluate(f"document.getElementById('stage').style.getPropertyValue('--{name}')").strip("px%"))


def until(page: Any, condition: str, given: Any = None) -> None:
    """Wait, a frame at a time; playwright's own way is to compile text in the page, which the page's policy forbids."""
    page.evaluate(
        f"given => new Promise(done => {{ const look = () => ({condition}) ? done() : requestAnimationFrame(look);"
        " look(); })",
        given,
    )


def repainted(page: Any, act: Callable[[], None]) -> None:
    """Do something, and wait until the map is another picture."""
    before = page.evaluate("document.getElementById('map').src")
    act()
    until(page, "document.getElementById('map').src !== given", before)


def test_the_image_is_on_the_left_and_the_map_on_the_right(opened, page_file) -> None:
    page = opened(page_file)
    assert [color_at(page, 0.35, y) for y in (0.25, 0.75)] == [PHOTO, PHOTO]
    assert [color_at(page, 0.65, y) for y in (0.25, 0.75)] == [FOREST, CLOUD]


def test_the_slider_moves_by_mouse_and_by_keys(opened, page_file) -> None:
    page = opened(page_file)
    slider = page.get_by_role("slider", name="Divider")
    slider.focus()
    page.keyboard.press("Home")
    assert shown(page, "split") == 0
    assert [color_at(page, 0.35, 0.25), color_at(page, 0.35, 0.75)] == [WATER, BARE]
    page.keyboard.press("End")
    assert color_at(page, 0.65, 0.25) == PHOTO
    page.keyboard.press("ArrowLeft")
    assert shown(page, "split") == 99.5
    box = page.locator("#stage").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.9 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.3 * box["width"], y, steps=4)
    page.mouse.up()
    assert shown(page, "split") == pytest.approx(30, abs=0.5)
    assert slider.input_value() == pytest.approx("30")
    assert color_at(page, 0.35, 0.25) == WATER
    page.locator("#stage").focus()
    page.keyboard.press("]")
    assert shown(page, "split") == pytest.approx(35, abs=0.5)


def test_switches_take_one_class_from_the_map(opened, page_file) -> None:
    page = opened(page_file)
    page.get_by_role("slider", name="Divider").fill("0")
    places = {"water": (0.35, 0.25), NASTY: (0.65, 0.25), "bare": (0.35, 0.75), "cloud": (0.65, 0.75)}
    colors = {"water": WATER, NASTY: FOREST, "bare": BARE, "cloud": CLOUD}
    assert {name: color_at(page, *at) for name, at in places.items()} == colors
    box = page.get_by_role("checkbox", name="water")
    box.focus()
    repainted(page, lambda: page.keyboard.press("Space"))
    assert {name: color_at(page, *at) for name, at in places.items()} == colors | {"water": PHOTO}
    repainted(page, page.get_by_role("button", name="None").click)
    assert {color_at(page, *at) for at in places.values()} == {PHOTO}
    repainted(page, page.get_by_role("button", name="All").click)
    assert {name: color_at(page, *at) for name, at in places.items()} == colors
    page.get_by_label("Opacity").fill("0")
    assert {color_at(page, *at) for at in places.values()} == {PHOTO}


def test_zoom_and_pan_by_buttons_keys_wheel_and_mouse(opened, page_file) -> None:
    page = opened(page_file)
    page.get_by_role("slider", name="Divider").fill("0")
    fit = shown(page, "w")
    assert page.get_by_role("button", name="Zoom out").is_disabled()
    page.get_by_role("button", name="Zoom in").click()
    assert shown(page, "w") == pytest.approx(1.5 * fit)
    stage = page.locator("#stage")
    stage.focus()
    page.keyboard.press("+")
    assert shown(page, "w") == pytest.approx(2.25 * fit)
    before = shown(page, "x")
    page.keyboard.press("ArrowRight")
    assert shown(page, "x") == pytest.approx(before - 60)
    page.keyboard.press("0")
    assert shown(page, "w") == pytest.approx(fit)
    box = stage.bounding_box()
    corner = box["x"] + 0.65 * box["width"], box["y"] + 0.25 * box["height"]
    page.mouse.move(*corner)
    for _ in range(12):
        page.mouse.wheel(0, -240)
    until(page, "parseFloat(document.getElementById('stage').style.getPropertyValue('--w')) > given", 6 * fit)
    assert {color_at(page, x, y) for x in (0.2, 0.9) for y in (0.3, 0.8)} == {FOREST}  # what was under the pointer
    page.mouse.down()
    page.mouse.move(corner[0] + 3000, corner[1], steps=5)
    page.mouse.up()
    assert color_at(page, 0.5, 0.5) == WATER
    text = page.locator("#bar-text").inner_text()
    metres = float(text.split()[0]) * (1000 if text.endswith("km") else 1)
    bar = page.locator("#bar").bounding_box()["width"]
    assert metres / bar == pytest.approx(2400 / shown(page, "w"), rel=0.02)


def test_the_wheel_scrolls_the_page_until_the_picture_is_taken_in_hand(opened, page_file) -> None:
    page = opened(page_file, viewport={"width": 1200, "height": 900})
    fit = shown(page, "w")
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.wheel(0, 300)
    until(page, "window.scrollY > 0")
    assert shown(page, "w") == fit


def test_two_fingers_zoom(opened, page_file) -> None:
    page = opened(page_file, has_touch=True)
    fit = shown(page, "w")
    box = page.locator("#stage").bounding_box()
    session = page.context.new_cdp_session(page)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def touch(kind: str, apart: float) -> None:
        points = [{"x": x - apart, "y": y, "id": 1}, {"x": x + apart, "y": y, "id": 2}] if apart else []
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 50)
    for apart in (70, 90, 100):
        touch("touchMove", apart)
    touch("touchEnd", 0)
    assert shown(page, "w") == pytest.approx(2 * fit, rel=0.02)


def test_the_class_under_the_pointer_is_told(opened, page_file) -> None:
    page = opened(page_file)
    box = page.locator("#stage").bounding_box()
    for x, y, name in ((0.35, 0.25, "water"), (0.65, 0.25, NASTY), (0.35, 0.75, "bare"), (0.65, 0.75, "cloud")):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        until(page, "document.getElementById('here').textContent === given", name)


def test_the_keyboard_reaches_every_control_in_reading_order(opened, page_file) -> None:
    page = opened(page_file)
    stops = ["stage", "divide", "zoom-in", "opacity", "all", "none", "0", "1", "2", "3"]
    seen = []
    for _ in range(14):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.value"))
        if seen[-1] in stops:
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", seen[-1]
    assert [stop for stop in seen if stop in stops] == stops


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(opened, page_file, scheme) -> None:
    page = opened(page_file, color_scheme=scheme)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 25, 31)"}[scheme]
    found = page.evaluate(CONTRASTS)
    assert len(found) > 60
    assert min(found)[0] >= 4.5, min(found)


def test_without_its_program_pictures_and_tables_are_there(opened, page_file) -> None:
    page = opened(page_file, java_script_enabled=False)
    photo, shown_map = (page.locator(name).bounding_box() for name in ("#photo", "#map"))
    assert photo["x"] + photo["width"] <= shown_map["x"]
    assert min(photo["width"], shown_map["width"]) > 300
    assert page.get_by_role("slider").count() == page.get_by_role("checkbox").count() == 0
    assert page.get_by_role("row").count() > 8
    assert "need JavaScript" in page.locator("noscript").inner_text()


def test_print_shows_both_pictures_and_no_controls(opened, page_file) -> None:
    page = opened(page_file, color_scheme="dark")
    page.get_by_role("button", name="Zoom in").click()
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(31, 41, 51)"  # paper is white
    photo, shown_map = (page.locator(name).bounding_box() for name in ("#photo", "#map"))
    assert photo["x"] + photo["width"] <= shown_map["x"]
    assert photo["width"] == pytest.approx(shown_map["width"], abs=1)
    assert not any(page.locator(one).is_visible() for one in ("#divide", "#zoom-in", "#divider", "#all", "#keys"))
    assert page.locator(".classes .name").first.is_visible()


def test_on_a_phone_nothing_is_wider_than_the_page(opened, page_file) -> None:
    page = opened(page_file, **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_on_a_phone_long_names_leave_room_for_what_they_are(opened, tmp_path) -> None:
    """Without a rule of its own for the table of files, its second column is a letter wide and the page too wide."""
    files = tuple((f"{LONG}.{suffix}", "Class names and attribute table") for suffix in ("classes.tif.aux.xml", "json"))
    page = opened(write_page(tmp_path / "long.report.html", files=files), **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert all(cell.bounding_box()["width"] >= 100 for cell in page.locator(".files td").all())


def test_on_a_phone_reasons_of_a_batch_can_be_read(opened, tmp_path) -> None:
    """Without a least width, a reason is squeezed to a letter a line."""
    path = tmp_path / "batch.report.html"
    path.write_text(
        batch_page(failed_batch(f"/in/{LONG}.tif is empty (0 bytes); copy it again."), {}), encoding="utf-8"
    )
    page = opened(path, **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("td.text").bounding_box()["width"] >= 200
    assert page.locator("caption").bounding_box()["width"] <= 360
    assert "2026-11-22, 05:17 UTC" in page.locator("header").inner_text()


def failed_batch(reason: str) -> dict[str, Any]:
    """What `document_of` says of a batch of one scene that failed."""
    scene = {"name": LONG, "state": "failed", "reason": reason, "exit_code": 65, "tries": 1, "done_again_because": ""}
    sums = {"mpx": 0.0, "polygons": 0, "area_ha": {}, "counts": {"failed": 1}}
    return {"batch": "out", "ended": "2026-11-22T06:17:29+01:00", "scenes": [scene], **sums}


def test_a_map_without_image_has_switches_and_zoom(opened, tmp_path) -> None:
    page = opened(write_page(tmp_path / "plain.report.html", image=None))
    assert [color_at(page, 0.35, y) for y in (0.25, 0.75)] == [WATER, BARE]
    repainted(page, page.get_by_role("checkbox", name="bare").uncheck)
    assert color_at(page, 0.35, 0.75) not in {BARE, PHOTO}
    page.get_by_role("button", name="Zoom in").click()
    assert page.get_by_role("slider").count() == 0


def test_a_foreign_program_does_not_run(opened, page_file, tmp_path) -> None:
    """The policy lets our own run, and the page's title is what it was."""
    text = page_file.read_text(encoding="utf-8")
    planted = tmp_path / "planted.report.html"
    planted.write_text(text.replace("<main", "<script>document.title = 'broken'</script><main", 1), encoding="utf-8")
    context = opened(page_file).context
    page = context.new_page()
    page.goto(planted.as_uri())
    assert page.title().startswith("scene <script>")
    assert page.locator(".live").count() == 1
