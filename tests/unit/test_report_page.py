"""The page opened in headless Chromium: what a reader's browser says is the oracle."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import time

import pytest

from cortexrnn.report import write_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WIDTHS_PX = (1280, 390)
# Generous: a cold browser on a loaded machine; nothing is asserted about it.
PATIENCE_S = 120.0

MEASURE_FIGURES = """
[...document.querySelectorAll('figure svg')].map(svg => {
  const box = svg.getBoundingClientRect();
  return {label: svg.getAttribute('aria-label'), left: box.left, right: box.right,
          width: box.width, height: box.height};
})
"""
MEASURE_PAGE = """
({scroll: document.documentElement.scrollWidth, window: window.innerWidth,
  body: document.body.scrollWidth, text: document.body.innerText.length})
"""


class Chromium:
    """A headless browser spoken to over its DevTools pipe: no port, no extra package, the real viewport."""

    def __init__(self, executable, profile):
        """Start the browser and attach to a blank page."""
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        command = [
            executable,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            f"--user-data-dir={profile}",
            "--remote-debugging-pipe",
            "about:blank",
        ]
        # The pipe is the browser's descriptors 3 and 4; a shell puts them there: no code runs after the fork.
        wiring = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", wiring, "bash", *command],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._number, self._rest, self.events = 0, b"", []
        self._session = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask("Page.setLifecycleEventsEnabled", enabled=True)

    def ask(self, method, **params):
        """Send one command and give its result; events that arrive meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def open(self, path, width_px):
        """Load a file in a window of this width and wait until it is laid out."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width_px,
            height=900,
            deviceScaleFactor=1,
            mobile=width_px < 600,
        )
        self.events.clear()
        loader = self.ask("Page.navigate", url=path.as_uri())["loaderId"]
        while not any(self._is_loaded(event, loader) for event in self.events):
            self.events.append(self._read())

    def evaluate(self, expression):
        """Give the value of an expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"]["value"]

    def screenshot(self, path):
        """Write the whole page as a PNG."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        picture = self.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(picture["data"]))

    def complaints(self):
        """List console errors, exceptions and log entries since the page was opened."""
        bad = (
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
            "Log.entryAdded",
            "Page.javascriptDialogOpening",
        )
        return [event for event in self.events if event.get("method") in bad]

    def requested_urls(self):
        """List what the page asked for since it was opened."""
        sent = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def close(self):
        """Ask the browser to leave and wait for it."""
        self._session = None
        with contextlib.suppress(OSError, AssertionError):
            self.ask("Browser.close")
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        os.close(self._in)

    @staticmethod
    def _is_loaded(event, loader):
        """Tell whether an event says that the navigation called `loader` is complete."""
        params = event.get("params", {})
        is_lifecycle = event.get("method") == "Page.lifecycleEvent"
        return is_lifecycle and params["name"] == "load" and params["loaderId"] == loader

    def _read(self):
        """Give the next message."""
        deadline = time.monotonic() + PATIENCE_S
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(deadline - time.monotonic(), 0.0))
            assert ready, f"the browser said nothing for {PATIENCE_S:g} s"
            piece = os.read(self._in, 1 << 20)
            assert piece, f"the browser ended with status {self._process.poll()}"
            self._rest += piece
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A running headless Chromium; its absence is a failure, not a skip."""
    found = [path for name in BROWSERS if (path := shutil.which(name))]
    if not found:
        pytest.fail(f"None of {', '.join(BROWSERS)} is on PATH. Install one: apt-get install -y chromium.")
    chromium = Chromium(found[0], tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.close()


@pytest.fixture(scope="module")
def page(report_example, tmp_path_factory):
    """The report of the twelve example units."""
    return write_report(tmp_path_factory.mktemp("page") / "report.html", *report_example)


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_page_opens_without_a_console_message_and_asks_for_nothing_else(browser, page, width_px):
    browser.open(page, width_px)
    assert browser.complaints() == []
    assert browser.requested_urls() == [page.as_uri()]


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_every_figure_is_visible_inside_the_window(browser, page, width_px):
    browser.open(page, width_px)
    figures = browser.evaluate(MEASURE_FIGURES)
    assert len(figures) == 3 + 11 * 4  # one of the twelve units is silent
    for figure in figures:
        assert figure["label"]
        assert figure["height"] > 80, figure
        # 300 px is the narrowest at which the 8.5 pt labels of a 400 pt figure stay above 6 px.
        assert figure["width"] > 300, figure
        assert figure["left"] >= 0, figure
        assert figure["right"] <= width_px, figure


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_page_does_not_scroll_sideways(browser, page, width_px):
    browser.open(page, width_px)
    size = browser.evaluate(MEASURE_PAGE)
    assert size["window"] == width_px
    assert size["scroll"] <= width_px
    assert size["body"] <= width_px
    assert size["text"] > 5000


def test_text_in_figures_stays_inside_its_figure(browser, page):
    browser.open(page, 1280)
    outside = browser.evaluate("""
      [...document.querySelectorAll('figure svg')].flatMap(svg => {
        const frame = svg.getBoundingClientRect();
        return [...svg.querySelectorAll('text')].filter(text => {
          const box = text.getBoundingClientRect();
          return box.left < frame.left - 1 || box.right > frame.right + 1 ||
                 box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
        }).map(text => svg.getAttribute('aria-label').slice(0, 40) + ': ' + text.textContent);
      })
    """)
    assert outside == []


def test_headings_follow_each_other_without_a_jump(browser, page):
    browser.open(page, 1280)
    levels = browser.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))


def test_every_link_of_the_page_leads_to_a_place_in_it(browser, page):
    browser.open(page, 1280)
    broken = browser.evaluate("""
      [...document.querySelectorAll('a')].map(a => a.getAttribute('href'))
        .filter(href => !href.startsWith('#') || !document.getElementById(href.slice(1)))
    """)
    assert broken == []


def test_ids_are_unique_over_all_figures(browser, page):
    browser.open(page, 1280)
    repeated = browser.evaluate("""
      (() => { const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
               return ids.filter((id, i) => ids.indexOf(id) !== i); })()
    """)
    assert repeated == []


def test_keyboard_reaches_sections_tables_and_the_methods(browser, page):
    browser.open(page, 1280)
    reachable = browser.evaluate("""
      [...document.querySelectorAll('a[href], summary, [tabindex="0"]')].filter(e => e.tabIndex === 0).length
    """)
    n_nav, n_skip, n_sections, n_rows, n_regions = 6, 1, 12, 12, 3
    assert reachable == n_nav + n_skip + n_sections + n_rows + n_regions


def test_many_units_are_sorted_and_filtered_without_a_script(browser, report_summary, report_panels, tmp_path):
    """Two copies of the twelve units; the radio buttons are pressed as a reader would."""
    twice = [*report_summary["units"], *(unit | {"unit": f"{unit['unit']} again"} for unit in report_summary["units"])]
    report_summary["units"] = twice
    report_summary["population"].pop("verdicts", None)
    browser.open(write_report(tmp_path / "report.html", report_summary, report_panels), 1280)
    shown = "[...document.querySelectorAll('{}')].filter(e => e.checkVisibility()).length"
    slugs = {"matters": "history matters", "none": "no relevant history", "unclear": "inconclusive"}
    assert browser.evaluate(shown.format("details")) == 24
    for slug, verdict in slugs.items():
        n = sum(unit["verdict"] == verdict for unit in twice)
        browser.evaluate(f"document.getElementById('show-{slug}').click(), true")
        assert browser.evaluate(shown.format("details")) == n
        assert browser.evaluate(shown.format("tbody tr.one")) == n
    browser.evaluate("document.getElementById('show-all').click(), true")
    assert browser.evaluate(shown.format("tbody tr.one")) == 24
    first = browser.evaluate("document.querySelector('details summary .gain').textContent")
    largest = max(unit["history_gain"]["value"] or -1.0 for unit in twice)
    assert f"+{largest:.3f}" in first
    assert browser.complaints() == []
    # Figures are images, which are looked into as they come into view: an SVG that is no image has no size.
    sizes = browser.evaluate("""
      (async () => {
        document.querySelectorAll('details').forEach(details => { details.open = true; });
        const images = [...document.images];
        images.forEach(image => { image.loading = 'eager'; });
        await Promise.all(images.map(image => image.decode()));
        return images.map(image => [image.naturalWidth, image.getBoundingClientRect().width]);
      })()
    """)
    assert len(sizes) == 2 * 11 + 11 * 3
    assert all(width > 300 for size in sizes for width in size)


def test_hostile_names_run_nothing_in_the_browser(browser, report_summary, report_panels, tmp_path):
    hostile = '"><img src=x onerror=alert(1)><script>alert(1)</script>'
    report_summary["recording"]["name"] = hostile
    report_summary["units"][0] |= {"unit": hostile, "sentence": hostile, "warnings": [hostile]}
    names = [hostile, *report_panels["unit"].values[1:].tolist()]
    panels = report_panels.assign_coords(unit=names, condition=[hostile])
    browser.open(write_report(tmp_path / "report.html", report_summary, panels), 1280)
    assert browser.complaints() == []
    assert browser.evaluate("document.querySelectorAll('script, img, iframe').length") == 0
