"""Locations, faces and detections on the real page in headless Chromium, by clicks and keys."""

import time

import numpy as np
import pytest

import fame_jax
from fame_jax.data.images import sample_path
from fame_jax.engine import Engine
from fame_jax.questions import Question
from tests import browsers
from tests.app.tab import STEPS, downloaded

pytestmark = browsers.NEEDED


def test_a_location_by_click_and_keys(tab, session, image, folder):
    tab.click("#cat")
    tab.done()
    tab.click("#tab-locations")
    tab.click("#location-view button[aria-label='row 3, column 4']")
    tab.wait("location-words", "lies outside the cell")
    engine = Engine(session.desk("class").network, "location")
    method = engine.method("fame", {"iterations": STEPS})

    def expected(*place):
        ((found,),) = method.results(engine.look([Question((image,), place)]))
        return found.attribution.ravel()

    np.testing.assert_array_equal(tab.maps("#location-view")[0][1], expected(3, 4))
    tab.chromium.switch_to.active_element.send_keys("\ue015")
    tab.chromium.switch_to.active_element.send_keys("\ue007")
    tab.wait("location-words", "Row 4, column 4")
    np.testing.assert_array_equal(tab.maps("#location-view")[0][1], expected(4, 4))
    tab.click("#location-view .deeds button:last-child")
    with np.load(downloaded(folder, "location.fame.npz")) as arrays:
        np.testing.assert_array_equal(arrays["attribution"].ravel(), expected(4, 4))


def test_a_location_under_a_resting_pointer_and_none_while_something_else_is_done(tab, session, image):
    from selenium.webdriver import ActionChains

    tab.click("#cat")
    tab.done()
    tab.click("#tab-locations")
    engine = Engine(session.desk("class").network, "location")
    method = engine.method("fame", {"iterations": STEPS})

    def rest(row, column):
        cell = tab.find(f"#location-view button[aria-label='row {row}, column {column}']")
        tab.run("arguments[0].scrollIntoView({ block: 'center' })", cell)
        ActionChains(tab.chromium).move_to_element(cell).perform()

    for place in ((3, 2), (5, 1)):
        rest(*place)
        tab.wait("location-words", f"Row {place[0]}, column {place[1]}")
        ((found,),) = method.results(engine.look([Question((image,), place)]))
        np.testing.assert_array_equal(tab.maps("#location-view")[0][1], found.attribution.ravel())
    rest(3, 2)
    tab.wait("location-words", "Row 3, column 2")
    tab.click("#play")
    rest(6, 6)
    time.sleep(0.5)  # Longer than a pointer has to rest.
    assert tab.find("#cancel").is_displayed()
    last = tab.find("#location-view button[aria-label='row 6, column 6']")
    assert last.get_attribute("aria-pressed") == "false"
    tab.click("#cancel")


@pytest.mark.slow
def test_all_locations_are_played(tab):
    tab.click("#cat")
    tab.done()
    tab.click("#tab-locations")
    tab.click("#play")
    tab.wait("status", "All are known")
    assert tab.text("location-count").startswith("49 of 49 known")


def test_faces_behind_sunglasses_swapped_and_drawn_over(tab, session):
    pytest.importorskip("cv2")
    tab.click("#tab-faces")
    tab.click("#portrait")
    tab.done()
    portrait = session.photographs.sample("portrait")
    found = tab.text("verdict")
    picture, (faces, _) = session.faces.found(portrait)
    shown = tab.run(
        """const [box, whole] = ["#probe .boxes button", "#probe .whole canvas"].map(
            (selector) => document.querySelector(selector).getBoundingClientRect());
        return [(box.left - whole.left) / whole.width, (box.top - whole.top) / whole.height,
            (box.right - whole.left) / whole.width, (box.bottom - whole.top) / whole.height];"""
    )
    np.testing.assert_allclose(shown, np.asarray(faces[0].box) / np.tile(picture.shape[1::-1], 2), atol=0.02)
    from fame_jax.app import Side

    hidden, bare = Side(portrait, None, ((22, 42, 90, 62),)), Side(portrait)
    images = tuple(session.faces.crop(one).image for one in (hidden, bare))
    engine = Engine(session.desk("pair").network, "pair")
    (seen,) = engine.look([Question(images)])
    assert found.startswith(f"Similarity {seen.similarity:.3f}, threshold 0.363")
    (results,) = engine.method("fame", {"iterations": STEPS}).results([seen])
    maps = tab.maps("#faces .maps")
    assert maps[0] is None
    assert maps[3] is None
    for (_, values), result in zip((*maps[1:3], *maps[4:6]), results, strict=True):
        np.testing.assert_array_equal(values, result.attribution.ravel())
    tab.click("#swap")
    tab.done()
    assert tab.text("verdict") == found
    np.testing.assert_array_equal(tab.maps("#faces .maps")[4][1], results[0].attribution.ravel())
    canvas = tab.find("#probe .draw canvas")
    tab.run("arguments[0].scrollIntoView({ block: 'center' })", canvas)
    from selenium.webdriver import ActionChains

    ActionChains(tab.chromium).move_to_element_with_offset(canvas, -60, -60).click_and_hold().move_by_offset(
        120, 60
    ).release().perform()
    tab.wait("status", "Comparing", "Walking")
    tab.done()
    assert tab.text("verdict") != found


@pytest.mark.slow
def test_a_detection_by_click(tab, session, folder):
    pytest.importorskip("onnx")
    tab.drop(sample_path("portrait"))
    tab.click("#tab-detections")
    tab.wait("status", "1 found")
    tab.click("#detection-whole .boxes button")
    tab.done()
    portrait = session.photographs.sample("portrait")
    boxed = session.boxes.of(portrait)
    (expected,) = fame_jax.explain_many(boxed.desk.network, [boxed.image], "fame", [0], iterations=STEPS)
    np.testing.assert_array_equal(tab.maps("#detection-view")[0][1], np.asarray(expected.attribution).ravel())
    tab.click("#detection-view .deeds button:last-child")
    with np.load(downloaded(folder, "detection.fame.npz")) as arrays:
        np.testing.assert_array_equal(arrays["attribution"], expected.attribution)
