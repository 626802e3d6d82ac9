"""The session gives the same arrays as Python and the commands do, and what it hands out makes them again."""

import contextlib
import io
import json
import re
import shlex

import jax
import numpy as np
import pytest
from PIL import Image

import fame_jax
from fame_jax.app import Session
from fame_jax.app.asked import Asked, AskedError, Side
from fame_jax.cli.app import desks
from fame_jax.cli.console import InputError, run
from fame_jax.cli.flags import NetworkFlags
from fame_jax.cli.graphs import GraphFlags
from fame_jax.data.faces import SUNGLASSES, load_face, sunglasses
from fame_jax.data.images import load, sample_path
from fame_jax.engine import Engine
from fame_jax.explainers.table import EXPLAINERS
from fame_jax.models import WeightsNotFoundError
from fame_jax.questions import Question
from tests.marks import thorough

STEPS = 4


@pytest.fixture(scope="module")
def cat(session):
    return Side(session.photographs.sample("cat"))


@pytest.fixture(scope="module")
def image():
    return load(sample_path("cat"), 256, 224)


def messages(found):
    return [message for message in found if message]


def frames(found):
    return [message["frame"] for message in found if "frame" in message]


def test_the_top_classes_are_the_networks(session, cat, image):
    (told,) = messages(session.look(cat.photograph))
    logits = np.asarray(fame_jax.models.load("mobilenet_v2")(jax.numpy.asarray(image)))
    assert [one["index"] for one in told["top"]] == list(np.argsort(-logits, kind="stable")[:8])
    np.testing.assert_allclose(told["top"][0]["score"], jax.nn.softmax(logits).max(), rtol=1e-4)
    assert told["grid"] == (7, 7)


@pytest.mark.parametrize("method", ["grad_cam", "random", *thorough("fame", "blob")])
def test_a_map_is_that_of_explain_many_to_the_last_bit(session, cat, image, method):
    asked = Asked("class", (cat,), 285, method, STEPS)
    *_, frame = frames(session.explain(asked))
    network = session.desk("class").network
    options = {"iterations": STEPS} if method == "fame" else {}
    (expected,) = fame_jax.explain_many(network, [image], method, [285], **options)
    np.testing.assert_array_equal(frame["values"], np.asarray(expected.attribution))
    assert frame["steps"] == int(expected.steps)


def test_every_step_is_the_walk_of_so_many_steps(session, cat, image):
    found = frames(session.explain(Asked("class", (cat,), 285, "fame", STEPS)))
    assert [frame["steps"] for frame in found] == [1, 2, 3, 4, 4]
    network = session.desk("class").network
    for steps in (1, 3):
        (expected,) = fame_jax.explain_many(network, [image], "fame", [285], iterations=steps)
        np.testing.assert_array_equal(found[steps - 1]["values"], np.asarray(expected.attribution))


def test_another_blur_needs_no_walk_and_gives_the_map_of_one(session, cat, image):
    plain = Asked("class", (cat,), 285, "fame", STEPS)
    list(session.explain(plain))
    (walk,) = (session._walks.find(plain),)
    *_, frame = frames(session.explain(Asked("class", (cat,), 285, "fame", STEPS, sigma=2.0)))
    assert session._walks.find(plain) is walk
    (expected,) = fame_jax.explain_many(
        session.desk("class").network, [image], "fame", [285], iterations=STEPS, sigma=2.0
    )
    np.testing.assert_array_equal(frame["values"], np.asarray(expected.attribution))


def test_a_location_is_that_of_the_engine_with_its_share_outside(session, cat, image):
    *_, last = found = list(session.explain(Asked("location", (cat,), (3, 4), "fame", STEPS)))
    engine = Engine(session.desk("class").network, "location")
    ((expected,),) = engine.method("fame", {"iterations": STEPS}).results(engine.look([Question((image,), (3, 4))]))
    np.testing.assert_array_equal(frames(found)[-1]["values"], expected.attribution)
    mass = np.asarray(expected.attribution)
    inside = mass[96:128, 128:160].sum() / mass.sum()
    assert last["done"]["locality"]["outside"] == pytest.approx(1 - inside, abs=1e-5)


@pytest.mark.thorough
def test_a_pair_behind_sunglasses_is_that_of_verify(session):
    pytest.importorskip("cv2")
    portrait = session.photographs.sample("portrait")
    sides = (Side(portrait, None, (SUNGLASSES,)), Side(portrait))
    (told,) = messages(session.compare(sides))
    face = load_face(sample_path("portrait")).image
    images = (sunglasses(face).image, face)
    engine = Engine(session.desk("pair").network, "pair")
    (seen,) = engine.look([Question(images)])
    assert told["similarity"] == pytest.approx(seen.similarity, abs=1e-6)
    assert told["decision"] == ("match" if seen.similarity >= 0.363 else "no match")
    (expected,) = engine.method("fame", {"iterations": STEPS}).results([seen])
    found = {
        frame["map"]: frame["values"] for frame in frames(session.explain(Asked("pair", sides, None, "fame", STEPS)))
    }
    assert len(found) == 4
    for name, result in zip(found, expected, strict=True):
        np.testing.assert_array_equal(found[name], result.attribution)


@pytest.mark.thorough
def test_a_detection_is_that_of_the_detector(session):
    pytest.importorskip("onnx")
    portrait = session.photographs.sample("portrait")
    (told,) = messages(session.find_detections(portrait))
    assert [one["name"].startswith("face 1 (0.9") for one in told["detections"]] == [True]
    *_, frame = frames(session.explain(Asked("detection", (Side(portrait),), 0, "fame", STEPS)))
    image = fame_jax.data.images.load_whole(sample_path("portrait"), 640)
    card, network = fame_jax.models.find("yunet")
    sized = fame_jax.detection.of_graph(network, card).of_size(*image.shape[:2])
    faces = fame_jax.detection.detections(sized, image, threshold=0.6)
    expected = next(
        fame_jax.explain_many(fame_jax.detection.detected(sized, faces), [image], "fame", [0], iterations=STEPS)
    )
    np.testing.assert_array_equal(frame["values"], np.asarray(expected.attribution))


def test_a_detector_of_ones_own_takes_the_place_of_the_bundled_one(tmp_path):
    pytest.importorskip("onnx")
    from tests.detection import graphs

    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:16, 16:32, 0] = 230
    Image.fromarray(pixels).save(tmp_path / "red.png")
    graph = GraphFlags(preset_input="unit", decoding="yolo")
    own = Session(desks(NetworkFlags(model=str(graphs.yolo(tmp_path / "own.onnx")), graph=graph)))
    photograph = own.photographs.add((tmp_path / "red.png").read_bytes(), "red.png")
    (told,) = messages(own.find_detections(photograph))
    assert [(one["name"], one["box"]) for one in told["detections"]] == [("class 0 1 (0.90)", [16, 0, 32, 16])]
    *_, frame = frames(own.explain(Asked("detection", (Side(photograph),), 0, "fame", STEPS, sigma=0.5)))
    assert frame["values"][:16, 16:32].sum() > 0.97 * frame["values"].sum() > 0
    assert own.desk("class").card.name == "mobilenet_v2"


def test_a_network_that_is_told_by_its_weights_or_by_flags_is_that_one_and_is_found_again(cat, tmp_path, capsys):
    pytest.importorskip("onnx")
    from tests.onnx.graphs import content, convolutional

    with pytest.raises(WeightsNotFoundError, match=r"nowhere\.pth"):
        desks(NetworkFlags(weights=tmp_path / "nowhere.pth"))
    with pytest.raises(InputError, match="--bgr is for ONNX files"):
        desks(NetworkFlags(graph=GraphFlags(bgr=True)))
    (tmp_path / "five.txt").write_text("ant\nbee\ncat\ndog\neel\n")
    (tmp_path / "small.onnx").write_bytes(content(convolutional()))
    graph = GraphFlags(mean=(0.5, 0.4, 0.3), std=(0.25, 0.25, 0.25), size=48, labels=str(tmp_path / "five.txt"))
    own = Session(desks(NetworkFlags(model=str(tmp_path / "small.onnx"), graph=graph)))
    photograph = own.photographs.add(sample_path("cat").read_bytes(), str(sample_path("cat")))
    asked = Asked("class", (Side(photograph),), 1, "fame", 2)
    *_, frame = frames(own.explain(asked))
    told = own.again(asked)
    words = shlex.split(told["command"])
    assert run([*words[1:], "--no-progress", "--out", str(tmp_path / "out")]) == 0
    with np.load(tmp_path / "out" / "chelsea.fame.npz") as arrays:
        np.testing.assert_array_equal(arrays["attribution"], frame["values"])
    space = {}
    exec(told["python"], space)
    np.testing.assert_array_equal(np.asarray(space["result"].attribution), frame["values"])


def test_the_lines_for_faces_know_where_the_photograph_ends(session, tmp_path, monkeypatch):
    pytest.importorskip("cv2")
    whole = Image.open(sample_path("portrait"))
    cut = whole.crop((0, whole.height // 5, whole.width, whole.height))
    file = io.BytesIO()
    cut.save(file, "png")
    side = Side(session.photographs.add(file.getvalue(), "cut.png"))
    bare = Side(session.photographs.sample("portrait"))
    assert session.faces.crop(side).filled is not None
    (tmp_path / "cut.png").write_bytes(file.getvalue())
    monkeypatch.chdir(tmp_path)
    asked = Asked("pair", (side, bare), None, "random", 1)
    last = {frame["map"]: frame["values"] for frame in frames(session.explain(asked))}
    space = {}
    exec(session.again(asked)["python"], space)
    for values, result in zip(last.values(), space["results"], strict=True):
        if values is not None:
            np.testing.assert_array_equal(values, result.attribution)


@pytest.mark.thorough
def test_command_and_python_make_the_same_map(session, cat, image, tmp_path, monkeypatch):
    mine = Side(session.photographs.add(sample_path("cat").read_bytes() + b"\0", "my cat.png"))
    asked = Asked("class", (mine,), None, "fame", STEPS, 3.0)
    *_, done = found = list(session.explain(asked))
    told = done["done"]["again"]
    (tmp_path / "my cat.png").write_bytes(sample_path("cat").read_bytes())
    monkeypatch.chdir(tmp_path)
    words = shlex.split(told["command"])
    assert words[:3] == ["fame", "explain", "my cat.png"]
    assert run([*words[1:], "--no-progress"]) == 0
    with np.load(tmp_path / "fame-out" / "my cat.fame.npz") as arrays:
        np.testing.assert_array_equal(arrays["attribution"], frames(found)[-1]["values"])
    assert len(told["python"].splitlines()) <= 10
    space = {}
    exec(told["python"], space)
    np.testing.assert_array_equal(np.asarray(space["result"].attribution), frames(found)[-1]["values"])


@pytest.mark.slow
@pytest.mark.parametrize("about", ["location", "pair", "detection"])
def test_python_lines_of_the_other_subjects_run(session, cat, tmp_path, monkeypatch, about):
    pytest.importorskip("cv2")
    pytest.importorskip("onnx")
    portrait = Side(session.photographs.sample("portrait"))
    sides = {
        "location": (cat,),
        "pair": (Side(portrait.photograph, 1, (SUNGLASSES,)), portrait),
        "detection": (portrait,),
    }
    target = {"location": (2, 5), "pair": None, "detection": 0}
    for sample in ("cat", "portrait"):
        (tmp_path / sample_path(sample).name).write_bytes(sample_path(sample).read_bytes())
    monkeypatch.chdir(tmp_path)
    asked = Asked(about, sides[about], target[about], "fame", 2)
    found = frames(session.explain(asked))
    space = {}
    exec(session.again(asked)["python"], space)
    last = {frame["map"]: frame["values"] for frame in found}
    for values, result in zip(last.values(), space["results"], strict=True):
        np.testing.assert_array_equal(values, result.attribution)


def test_arrays_come_with_a_manifest_and_the_picture_is_one(session, cat):
    asked = Asked("class", (cat,), 281, "fame", STEPS)
    with np.load(io.BytesIO(session.out(asked, "npz", "inferno", 0.5))) as arrays:
        manifest = json.loads(str(arrays["manifest"]))
        np.testing.assert_array_equal(arrays["attribution"], session.results(asked)[0].attribution)
        assert arrays["image"].shape == (224, 224, 3)
    assert manifest["inputs"] == [{"path": "chelsea.png", "sha256": cat.photograph}]
    assert "--class 281" in manifest["command"]
    assert session.out(asked, "png", "viridis", 0.3).startswith(b"\x89PNG")
    with pytest.raises(AskedError, match="kind"):
        session.out(asked, "exe", "inferno", 0.5)
    with pytest.raises(AskedError, match="colours"):
        session.out(asked, "png", "puce", 0.5)


def test_the_report_shows_what_was_looked_at_and_nothing_runs_in_it(session, cat):
    name = "<script>alert(1)</script>.png"
    hostile = Side(session.photographs.add(sample_path("cat").read_bytes() + b"\0", name))
    for one in (cat, hostile):
        list(session.explain(Asked("class", (one,), 285, "blob")))
    html = session.looked.report()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.png" in html
    assert "Egyptian cat" in html
    assert not re.findall(r"(?:src|href)=\"https?:", html)


@pytest.mark.slow
def test_a_map_of_fame_is_better_than_a_blob_and_a_blob_as_good_as_itself(session, cat):
    *_, last = session.road(Asked("class", (cat,), 285, "blob"))
    assert last["done"]["map"] == pytest.approx(last["done"]["blob"], abs=1e-4)
    *_, last = session.road(Asked("class", (cat,), 285, "grad_cam"))
    assert last["done"]["map"] != last["done"]["blob"]


def test_a_walk_ends_when_nobody_listens_and_the_line_moves_up(session, cat):
    walk = session.in_turn(lambda: session.explain(Asked("class", (cat,), 1, "fame", 200)))
    assert "frame" in next(walk)
    other = session.in_turn(lambda: session.look(cat.photograph))
    assert next(other) == {"before": 1}
    walk.close()
    assert "top" in next(message for message in other if "before" not in message)
    other.close()
    assert len(session.line) == 0


def test_a_second_photograph_and_class_compile_nothing(session, cat):
    list(session.explain(Asked("class", (cat,), 285, "fame", STEPS)))
    flipped = io.BytesIO()
    Image.open(sample_path("cat")).rotate(90).save(flipped, "PNG")
    other = Side(session.photographs.add(flipped.getvalue(), "other.png"))
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration, **details: compiled.append(event) if "backend_compile" in event else None
    )
    list(session.look(other.photograph))
    for target in (285, 3):
        list(session.explain(Asked("class", (other,), target, "fame", STEPS)))
    assert compiled == []


def test_what_the_network_does_not_have_is_refused_in_one_line(session, cat):
    with pytest.raises(AskedError, match="no class 1000"):
        list(session.explain(Asked("class", (cat,), 1000)))
    with pytest.raises(ValueError, match="unknown method"):
        list(session.explain(Asked("class", (cat,), 3, "magic")))
    with pytest.raises(ValueError, match="explains no"):
        list(session.explain(Asked("class", (cat,), 3, "corrrise")))
    with contextlib.suppress(AskedError):
        list(session.explain(Asked("detection", (cat,), 0)))


def test_every_method_that_is_offered_explains_classes(session):
    names = {method["name"] for method in session.desk("class").methods()}
    assert names == {row.name for row in EXPLAINERS.values() if row.of_class is not None}
