"""The page in headless Chromium, loaded from disk."""

import numpy as np
import pytest

from fame_jax.report import Source, page, report
from fame_jax.report.content import Column, Item, Layer
from fame_jax.report.encoded import encoded_image, encoded_map
from tests import browsers
from tests.report.conftest import HOSTILE, SIDE, peak

pytestmark = browsers.NEEDED

SETTLED = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browsers.started(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


class Opened:
    """A report in the browser."""

    def __init__(self, chromium, file, html):
        self.chromium = chromium
        file.write_text(html)
        chromium.get_log("browser")
        chromium.get(file.as_uri())

    def run(self, script, *arguments):
        return self.chromium.execute_script(script, *arguments)

    def settle(self):
        self.chromium.execute_async_script(SETTLED)

    def choose(self, name, value):
        """Sets a control as a hand would; returns the milliseconds until the page is laid out and painted again."""
        return self.chromium.execute_async_script(
            """const [id, value, done] = arguments, control = document.getElementById(id), start = performance.now();
            control.value = value;
            control.dispatchEvent(new Event("input", { bubbles: true }));
            document.body.offsetHeight;
            requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));""",
            name,
            value,
        )

    @property
    def shown(self):
        return self.run("return [...document.querySelectorAll('.item:not([hidden]) h3')].map((e) => e.textContent)")

    @property
    def count(self):
        return self.run("return document.getElementById('count').textContent")

    @property
    def complaints(self):
        return [entry["message"] for entry in self.chromium.get_log("browser")]


@pytest.fixture
def opened(chromium, class_run, tmp_path):
    """Four photographs; the second map is blank and the third photograph has a hostile name."""
    maps = np.stack([peak(4 * i, 4) for i in range(4)])
    maps[1] = 0
    status = np.array([[0], [1], [0], [0]], np.int8)
    return Opened(
        chromium, tmp_path / "with spaces #1.html", report([class_run("run", attribution=maps, status=status)])
    )


def test_the_page_loads_from_disk_without_a_complaint_and_runs_nothing_of_its_names(opened):
    opened.settle()
    assert opened.complaints == []
    assert opened.shown == ["a.png", "b.png", HOSTILE, "d.png"]
    assert opened.run("return [...document.images].every((i) => i.complete && i.naturalWidth > 0)")


def test_the_slider_blends_every_map_over_its_photograph(opened):
    opened.choose("opacity", "25")
    seen = "return [...document.querySelectorAll('.stack .map')].map((e) => getComputedStyle(e).opacity)"
    assert opened.run(seen) == ["0.25"] * 4
    assert opened.run("return document.getElementById('opacity-value').textContent") == "25%"
    assert opened.run("return [...document.querySelectorAll('.under')].every((e) => e.src.startsWith('data:'))")


def test_colours_and_theme_are_switched(opened):
    colours = "return getComputedStyle(document.querySelector('.stack .map')).filter"
    assert "inferno" in opened.run(colours)
    opened.choose("colours", "jet")
    assert "jet" in opened.run(colours)
    ground = "return getComputedStyle(document.body).backgroundColor"
    opened.choose("theme", "light")
    light = opened.run(ground)
    opened.choose("theme", "dark")
    assert opened.run(ground) != light


def test_search_class_and_status_select(opened):
    opened.choose("search", "ALERT(1)")
    assert opened.shown == [HOSTILE]
    assert opened.count == "1 of 4 shown"
    opened.choose("search", "")
    opened.choose("status", "zero gradient")
    assert opened.shown == ["b.png"]
    opened.choose("status", "")
    opened.choose("class", "great white shark")
    assert opened.count == "1 of 4 shown"
    opened.run("document.querySelector('button[type=reset]').click()")
    opened.settle()
    assert opened.count == "4 shown"
    opened.choose("search", "nothing of the kind")
    assert opened.shown == []


def test_sorting_by_a_measure_and_a_range_of_it(opened):
    opened.choose("sort", "=change of the loss, FAME")
    assert opened.shown == ["d.png", HOSTILE, "b.png", "a.png"]
    opened.choose("order", "-1")
    assert opened.shown == ["a.png", "b.png", HOSTILE, "d.png"]
    opened.choose("low", "-15")
    opened.choose("high", "-11")
    assert opened.shown == ["b.png", HOSTILE]
    opened.choose("sort", "name")
    assert opened.run("return document.getElementById('between').hidden")


def test_everything_that_is_operated_has_a_name_and_can_be_reached(opened):
    unnamed = """return [...document.querySelectorAll("input, select, button, summary, [tabindex='0']")].filter(
        (e) => !(e.labels?.length || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.textContent)
    ).map((e) => e.outerHTML)"""
    assert opened.run(unnamed) == []
    assert opened.run("return [...document.images].every((i) => i.hasAttribute('alt'))")
    assert opened.run("return document.getElementById('count').getAttribute('aria-live')") == "polite"
    body = opened.chromium.find_element("tag name", "body")
    body.send_keys("\ue004")
    assert opened.run("return document.activeElement.className") == "skip"


def test_nothing_sticks_out_on_a_narrow_screen(opened):
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    opened.chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert opened.run("return document.documentElement.scrollWidth") == 390
    finally:
        opened.chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_five_hundred_photographs_with_three_methods_stay_responsive(chromium, tmp_path):
    random = np.random.default_rng(0)
    photographs = [encoded_image(random.random((8, 8, 3), np.float32).repeat(28, 0).repeat(28, 1)) for _ in range(9)]
    maps = [encoded_map(peak(i, i).repeat(14, 0).repeat(14, 1)) for i in range(SIDE)]
    items = [
        Item(
            kind="class",
            name=f"photo {i}.jpg",
            key=("class", f"{i}"),
            pictures={"photograph": photographs[i % 9]},
            columns=tuple(
                Column(
                    m,
                    m,
                    f"class {i % 50}",
                    {"attribution": Layer("attribution", maps[i % SIDE], "ok")},
                    {"drop": float(i)},
                )
                for m in ("fame", "grad_cam", "gradient")
            ),
        )
        for i in range(500)
    ]
    source = Source(tmp_path, "manifest.json", "many", {}, tuple(items), total=500)
    many = Opened(chromium, tmp_path / "many.html", page([source], title="many"))
    assert many.count == "500 shown"
    took = {
        "filter": many.choose("class", "class 7"),
        "count": many.count,
        "unfilter": many.choose("class", ""),
        "search": many.choose("search", "photo 49"),
        "again": many.choose("search", ""),
        "sort": many.choose("sort", "=drop, FAME"),
        "slider": many.choose("opacity", "30"),
    }
    assert took.pop("count") == "10 of 500 shown"
    assert max(took[name] for name in ("filter", "search")) < 200, took
    assert max(took.values()) < 1000, took
    assert many.complaints == []
