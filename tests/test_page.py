"""The page in a real browser, Debian's chromium: what a person sees and does."""

import io
import re
import shutil

import cv2
import numpy as np
import pytest
from make_zoo import noise
from pages import Slow, encoded, flat, serving
from PIL import Image

from util.pictures.read import read_picture

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Dataset has no geotransform"),
    pytest.mark.skipif(not CHROMIUM, reason="no browser: apt-get install chromium"),
]
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        # As root in a container there is no sandbox; all that is shown is ours.
        how = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}
        yield driver.chromium.launch(**how)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The page's address."""
    with serving(tmp_path_factory.mktemp("page")) as (address, *_):
        yield address


@pytest.fixture
def at(browser, served):
    """Return a function: (size, address, ...) -> the page in a tab; at the end all was well."""
    asked, wrong, contexts = [], [], []

    def open_page(size=WIDE, address=served, **how):
        contexts.append(browser.new_context(viewport=size, **how))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: asked.append((request.url, address)))
        page.on("console", lambda line: wrong.append(line.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert asked
    # No other host is asked for anything.
    assert [url for url, own in asked if not url.removeprefix("blob:").startswith(own)] == []
    assert [text for text in wrong if "the server responded with" not in text] == []


def choose(page, body, name="a cloudy day.png", kind="image/png"):
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": body})


def cleared(page, body, **how):
    choose(page, body, **how)
    page.wait_for_selector("#done:visible")


def grey_at(page, across, down=0.5):
    """Return the grey that is seen at a place of the stage, 0..1 across and down."""
    with Image.open(io.BytesIO(page.locator("#stage").screenshot())) as shot:
        return shot.convert("L").getpixel((int(across * shot.width), int(down * shot.height)))


def middle(page, across=0.5, down=0.5):
    box = page.locator("#stage").bounding_box()
    return box["x"] + across * box["width"], box["y"] + down * box["height"]


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["390", "1280"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_picture_is_seen_cleared_under_a_slider(at, size, scheme):
    page = at(size, color_scheme=scheme, has_touch=size == NARROW)
    assert page.get_by_role("button").count() == 1
    cleared(page, flat(200, 400, 600))
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", back))) < 60) == (scheme == "dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert [round(grey_at(page, x), -1) for x in (0.3, 0.7)] == [200, 60]
    page.focus("#slider")
    for _ in range(60):
        page.keyboard.press("ArrowRight")
    assert [round(grey_at(page, x), -1) for x in (0.7, 0.95)] == [200, 60]
    page.mouse.move(*middle(page, 0.5))
    page.mouse.down()
    page.mouse.move(*middle(page, 0.1), steps=4)
    page.mouse.up()
    assert [round(grey_at(page, x), -1) for x in (0.05, 0.3)] == [200, 60]
    if size == NARROW:
        page.touchscreen.tap(*middle(page, 0.9))
        assert [round(grey_at(page, x), -1) for x in (0.8, 0.97)] == [200, 60]
    page.get_by_text("Opacity", exact=True).click()
    assert grey_at(page, 0.5) == pytest.approx(51, abs=2)


def test_what_is_downloaded_is_at_full_depth_under_the_pictures_name(at):
    page, came = at(), noise(40, 60, np.uint16)
    cleared(page, cv2.imencode(".png", came[..., ::-1])[1].tobytes())
    with page.expect_download() as found:
        page.get_by_text("Download").click()
    assert found.value.suggested_filename == "a cloudy day_cleared.png"
    np.testing.assert_array_equal(read_picture(found.value.path()), 65535 - came)


def test_what_is_marked_with_the_brush_is_repainted(at):
    page = at()
    cleared(page, flat(200, 400, 600))
    page.get_by_text("Brush").click()
    page.mouse.move(*middle(page, 0.2))
    page.mouse.down()
    page.mouse.move(*middle(page, 0.4), steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Repaint").click()
    page.wait_for_selector("#slider:visible")
    page.locator("#slider").fill("0")
    assert [round(grey_at(page, x), -1) for x in (0.3, 0.7)] == [0, 60]
    assert round(grey_at(page, 0.3, 0.2), -1) == 60


def test_a_tiff_is_shown_though_browsers_show_none(at):
    page = at()
    cleared(page, encoded(np.full((400, 600, 3), 200, np.uint8), "TIFF"), kind="image/tiff")
    assert [round(grey_at(page, x), -1) for x in (0.3, 0.7)] == [200, 60]


@pytest.mark.parametrize(
    ("name", "kind", "body", "text"),
    [
        ("a.txt", "text/plain", b"hello", "not a picture"),
        ("a.png", "image/png", bytes(2**20 + 1), "Too large: 2 MB, of at most 1 MB"),
        ("a.png", "image/png", flat(0, 501, 500), "more than max_pixels"),
        ("a.png", "image/png", flat()[:80], "cut"),
    ],
    ids=["text", "large", "many", "cut"],
)
def test_what_goes_wrong_is_said_in_a_line(at, name, kind, body, text):
    page = at()
    choose(page, body, name=name, kind=kind)
    error = page.get_by_role("alert")
    error.wait_for()
    assert text in error.text_content()
    assert page.get_by_text("Choose a picture").is_visible()
    cleared(page, flat())
    assert not error.is_visible()


def test_a_busy_server_says_so_and_another_picture_can_be_cancelled(at, tmp_path):
    slow = Slow()
    with serving(tmp_path, load=slow.load) as (address, client, _):
        page = at(address=address)
        choose(page, flat())
        assert slow.begun.acquire(timeout=20)
        page.get_by_text("Clearing").wait_for()
        page.get_by_role("button", name="Cancel").click()
        for _ in range(4):
            how = {"headers": {"Host": "127.0.0.1", "Content-Type": "image/png"}}
            assert client.post("/api/v1/clear?as=json", data=flat(), **how).status_code == 202
        choose(page, flat())
        page.get_by_role("alert").wait_for()
        assert "busy: 4 pictures wait already" in page.get_by_role("alert").text_content().lower()
        assert slow.worked[0].is_dropped
        slow.go.set()
