"""A real browser on the pages of a studio."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def chromium():
    """A browser of the distribution."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("there is no Chromium; apt install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts `activesam-studio` with arguments; returns its address."""
    started = []

    def studio(*arguments):
        command = [sys.executable, "-m", "activesam_ros.cli.studio", "--port", "0", *map(str, arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ
        )
        started.append(process)
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, f"the studio did not start: {line!r}"
        return found[0]

    yield studio
    for process in started:
        process.send_signal(signal.SIGINT)
    try:
        # Long enough for a loaded machine.
        assert all(process.wait(90) in (0, 130) for process in started)
    finally:
        for process in started:
            process.kill()


@pytest.fixture
def visit(chromium):
    """Opens an address in a browser of its own; at the end nothing failed in it, and nothing came from elsewhere."""
    from playwright.sync_api import expect

    contexts, wrong = [], []

    def open_(address, width=1400, height=900, free=True):
        context = chromium.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda request: wrong.append(request.url) if not is_here(request.url, address) else None,
        )
        page.goto(address)
        expect(page.get_by_test_id("overlay")).to_have_attribute("src", re.compile("labels"), timeout=60_000)
        # Whoever was here before may have control until the server has seen that they are gone.
        expect(page.get_by_role("button", name="Add", exact=True)).to_be_enabled(enabled=free, timeout=20_000)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


def is_here(url, address):
    host = address.split("/")[2]
    return url.startswith(("data:", "blob:")) or url.split("/")[2] == host


def view_number(page):
    return int(page.get_by_test_id("overlay").get_attribute("data-view"))


def changes(page, act):
    """Do something, and wait until another view is shown whole; returns the seconds."""
    before = view_number(page)
    started = time.perf_counter()
    act()
    page.wait_for_function(
        "before => { const layer = document.querySelector('[data-testid=overlay]');"
        " return +layer.dataset.view > before && layer.complete && layer.naturalWidth > 0; }",
        arg=before,
        timeout=60_000,
    )
    return time.perf_counter() - started


def enter(page, label, text):
    page.get_by_label(label, exact=True).fill(text)
    page.keyboard.press("Enter")


def road_at_the_bottom(page):
    box = page.get_by_test_id("picture").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.5)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.9)
    return page.get_by_test_id("hover")
