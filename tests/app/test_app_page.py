"""The real page in headless Chromium, with the real networks, by clicks and keys."""

import time

import numpy as np
from PIL import Image

import fame_jax
from fame_jax.data.images import sample_path
from tests import browsers
from tests.app.tab import STEPS, Tab, downloaded

pytestmark = browsers.NEEDED


def explained(session, image, target, method="fame", **options):
    options = {"iterations": STEPS, **options} if method == "fame" else options
    (found,) = fame_jax.explain_many(session.desk("class").network, [image], method, [target], **options)
    return np.asarray(found.attribution).ravel()


def test_the_cat_its_top_class_and_another_by_a_part_of_its_name(tab, session, image):
    tab.click("#cat")
    tab.done()
    assert tab.find("#top button[aria-pressed=true]").text.startswith("Egyptian cat")
    ((steps, values),) = tab.maps("#class-views")
    assert steps == STEPS
    np.testing.assert_array_equal(values, explained(session, image, 285))
    field = tab.find("#any")
    field.send_keys("siamese")
    field.send_keys("\ue007")
    tab.wait("class-title", "Siamese cat (284)")
    tab.done()
    np.testing.assert_array_equal(tab.maps("#class-views")[0][1], explained(session, image, 284))
    tab.click("#top li:nth-child(3) button")
    tab.done()
    index = int(tab.find("#top button[aria-pressed=true]").get_attribute("data-index"))
    np.testing.assert_array_equal(tab.maps("#class-views")[0][1], explained(session, image, index))
    field.clear()
    field.send_keys("no such thing\ue007")
    tab.wait("status", "no class is called")
    field.clear()
    field.send_keys("fox\ue007")
    tab.wait("status", "red fox (277)")  # One of several that are meant, and none is chosen in silence.
    assert tab.text("class-title").endswith(f"({index})")


def test_a_photograph_from_disk_methods_side_by_side_and_what_leaves_the_page(tab, session, image, folder, tmp_path):
    (tmp_path / "tom & <b>jerry.png").write_bytes(sample_path("cat").read_bytes())
    tab.drop(tmp_path / "tom & <b>jerry.png")
    tab.click("#choice summary")
    tab.click("#methods input[value=grad_cam]")
    tab.done()
    found = tab.maps("#class-views")
    for (_, values), method in zip(found, ("fame", "grad_cam"), strict=True):
        np.testing.assert_array_equal(values, explained(session, image, 285, method))
    tab.click("#class-views figure:first-child .deeds button:nth-child(2)")
    with np.load(downloaded(folder, "class.fame.npz")) as arrays:
        np.testing.assert_array_equal(arrays["attribution"].ravel(), found[0][1])
    tab.wait("status", "among your downloads")
    tab.click("#class-views figure:first-child .deeds button:first-child")
    with Image.open(downloaded(folder, "class.fame.png")) as picture:
        assert picture.width > 800
    tab.wait("status", "among your downloads")
    tab.click("#report")
    assert "tom &amp; &lt;b&gt;jerry.png" in downloaded(folder, "fame-report.html").read_text()
    tab.click("#class-views figure:first-child details summary")
    assert tab.find("#class-views .command").text.startswith("fame explain 'tom & <b>jerry.png'")
    tab.click("#class-views figure:nth-child(2) .ask-road")
    tab.done()
    assert tab.find("#class-views figure:nth-child(2) .road").text.split(":")[0] in ("Yes", "No")


def test_blur_opacity_colours_steps_and_the_number_under_the_pointer(tab, session, image):
    tab.click("#cat")
    tab.done()
    tab.enter("sigma", 2)
    tab.done()
    np.testing.assert_array_equal(tab.maps("#class-views")[0][1], explained(session, image, 285, sigma=2.0))
    painted = """const done = arguments[0]; requestAnimationFrame(() => setTimeout(() => {
        const canvas = document.querySelector("#class-views canvas");
        done([...canvas.getContext("2d").getImageData(0, 0, 224, 224).data]);
    }))"""

    def pixels():
        return np.reshape(tab.chromium.execute_async_script(painted), (224, 224, 4))[..., :3]

    tab.enter("opacity", 0)
    bare = pixels()
    assert np.abs(bare - image * 255).mean() < 4  # Lossy WebP.
    tab.enter("opacity", 100)
    tab.enter("colours", "gray")
    values = tab.maps("#class-views")[0][1].reshape(224, 224)
    assert np.abs(pixels() - values[..., None] * 255).max() < 1
    tab.enter("step", 0)
    np.testing.assert_array_equal(pixels(), bare)
    tab.enter("step", STEPS)
    canvas = tab.find("#class-views canvas")
    tab.run("arguments[0].focus()", canvas)
    canvas.send_keys("\ue014")
    assert tab.find("#class-views output").text == f"row 112, column 120: {values[112, 120]:.3f}"
    assert "after 3 steps" in tab.text("curve-words")


def test_the_slider_paints_twenty_times_a_second_and_more(tab):
    tab.click("#cat")
    tab.done()
    script = """const done = arguments[0], slider = document.getElementById("step"), start = performance.now();
        let count = 0;
        const next = () => {
            slider.value = count % 4;
            slider.dispatchEvent(new Event("input"));
            count += 1;
            count < 40 ? requestAnimationFrame(next) : done(performance.now() - start);
        };
        next();"""
    assert tab.chromium.execute_async_script(script) < 2000


def test_two_tabs_and_one_that_is_closed_in_the_middle_of_a_walk(tab, server, session, image):
    first = tab.chromium.current_window_handle
    tab.click("#cat")
    tab.done()
    tab.enter("iterations", 500)
    tab.wait("status", "FAME of")
    tab.chromium.switch_to.new_window("tab")
    other = Tab.__new__(Tab)
    other.chromium = tab.chromium
    tab.chromium.get(server.address)
    other.wait("status", "Ready")
    other.click("#cat")
    other.wait("status", "Waiting: 1 before this.")
    second = tab.chromium.current_window_handle
    tab.chromium.switch_to.window(first)
    assert tab.find("#cancel").is_displayed()
    tab.chromium.close()
    tab.chromium.switch_to.window(second)
    other.done()
    other.enter("iterations", STEPS)
    other.done()
    np.testing.assert_array_equal(other.maps("#class-views")[0][1], explained(session, image, 285))


def test_a_walk_is_cancelled(tab, session):
    tab.click("#cat")
    tab.done()
    tab.enter("iterations", 600)
    tab.wait("status", "FAME of")
    tab.click("#cancel")
    tab.wait("status", "Cancelled.")
    deadline = time.monotonic() + 30
    while len(session.line) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(session.line) == 0


def test_a_photograph_that_was_forgotten_is_sent_again(tab, session, image):
    tab.click("#cat")
    tab.done()
    for kept in (session.photographs._held, session._seen, session._images, session._walks):
        kept._things.clear()
    tab.enter("any", "tabby (281)")
    tab.wait("class-title", "tabby")
    tab.done()
    np.testing.assert_array_equal(tab.maps("#class-views")[0][1], explained(session, image, 281))


def test_a_hostile_file_is_told_and_the_page_goes_on(tab, tmp_path):
    (tmp_path / "evil.png").write_bytes(b"P6\n100000 100000\n255\n")
    tab.find("#file").send_keys(str(tmp_path / "evil.png"))
    tab.wait("status", "evil.png: 100000x100000 pixels are above the limit")
    tab.click("#cat")
    tab.done()


def test_tabs_by_keys_and_everything_that_is_operated_has_a_name(tab):
    tab.click("#cat")
    tab.done()
    unnamed = """return [...document.querySelectorAll("input, select, button, summary, canvas, [tabindex='0']")].filter(
        (e) => !(e.labels?.length || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.textContent
            || e.hidden)
    ).map((e) => e.outerHTML)"""
    for name in ("classes", "locations", "faces", "detections"):
        assert tab.run(unnamed) == []
        assert tab.find(f"#tab-{name}").get_attribute("aria-selected") == "true"
        assert tab.find(f"#{name}").is_displayed()
        tab.run("document.getElementById(arguments[0]).focus()", f"tab-{name}")
        tab.chromium.switch_to.active_element.send_keys("\ue014")
        tab.run("document.getElementById('cancel').click()")
    assert tab.run("return document.activeElement.id") == "tab-classes"
    assert tab.find("#status").get_attribute("role") == "status"


def test_themes_differ_and_nothing_sticks_out_on_a_narrow_screen(tab):
    tab.click("#cat")
    tab.done()
    grounds = []
    for theme in ("light", "dark"):
        tab.enter("theme", theme)
        grounds.append(tab.run("return getComputedStyle(document.body).backgroundColor"))
    assert grounds[0] != grounds[1]
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    tab.chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        for name in ("classes", "locations", "faces"):
            tab.click(f"#tab-{name}")
            assert tab.run("return document.documentElement.scrollWidth") == 390, name
    finally:
        tab.chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_click_before_the_network_is_there_waits_for_it(chromium, server, session, image):
    held = session._making
    session._desks.clear()
    with held:  # The network is being made.
        chromium.get(server.address)
        chromium.find_element("css selector", "#cat").click()
        assert "Loading" in chromium.find_element("css selector", "#status").text
        chromium.find_element("css selector", "#cancel").click()
        chromium.find_element("css selector", "#cat").click()
    tab = Tab.__new__(Tab)
    tab.chromium = chromium
    tab.done()
    assert tab.find("#top button[aria-pressed=true]").text.startswith("Egyptian cat")
    assert tab.complaints == []


def test_maps_of_another_tab_are_made_anew_once_the_steps_have_changed(tab, session, image):
    tab.click("#cat")
    tab.done()
    tab.click("#tab-locations")
    tab.run("document.querySelector('#location-view .over button').click()")
    tab.done()
    tab.enter("sigma", 2)
    tab.done()
    tab.click("#tab-classes")
    tab.done()
    np.testing.assert_array_equal(tab.maps("#class-views")[0][1], explained(session, image, 285, sigma=2.0))
    tab.enter("iterations", STEPS + 1)
    tab.done()
    tab.click("#tab-locations")
    tab.done()
    assert tab.maps("#location-view")[0][0] == STEPS + 1
    assert len(tab.all("#location-view .known")) == 1
    tab.click("#tab-classes")
    assert tab.text("status") == ""  # Nothing has changed since.
