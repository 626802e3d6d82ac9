"""Networks of one's own that do not fit, in the commands: one line, before any work."""

import json
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from fame_jax import models
from fame_jax.models.checkpoint import FORMAT
from tests.cli.test_own_networks import LABELS, folder  # noqa: F401 - a fixture
from tests.models.test_own import CODE, START

BAD = """
def f(image):
    return image.mean((0, 1))
def several(image):
    return {"aux": image, "logits": f(image)}
def pair(image):
    return image, f(image)
def batch(image):
    return f(image)[None]
def spatial(image):
    return image[::4, ::4]
returns_dict, returns_pair = (several, card), (pair, card)
returns_batch, returns_map = (batch, card), (spatial, card)
good, short = (f, card), (f, Card("mine", "class", 32, 36, labels=("a", "b")))
single = (lambda image: f(image)[:1]), Card("mine", "class", 32, 36)
grey = f, Card("mine", "class", 32, 36, mean=(0.5,), std=(0.5,))
large = f, Card("mine", "face", 160, 160)
unnamed = f, Card("mine", "class", 32, 36)
"""


@pytest.fixture
def here(folder):  # noqa: F811
    (folder / "mine.py").write_text(START + BAD + LABELS.replace("pair = network", "named = f"))
    (folder / "noisy.py").write_text("raise RuntimeError('two\\nlines')")
    (folder / "nothing.py").write_text("_network = 1")
    (folder / "script.py").write_text("import sys\nnetwork = 1\nsys.exit(3)")
    (folder / "relative.py").write_text("from . import mine")
    (folder / "empty").mkdir()
    (folder / "pairs.csv").write_text("G,P,T\npictures/one.png,pictures/two.png,1\n")
    (folder / "trained.py").write_text(START + textwrap.dedent(CODE["nnx"].replace("network.eval()", "")))
    return folder


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("explain --model mine.py:goof", "mine.py has no 'goof'; did you mean good"),
        ("explain --model mine.py:", "expected package.module:name or file.py:name"),
        ("explain --model gone.py:network", "gone.py: no such file"),
        ("explain --model gone:network", "No module named 'gone'"),
        ("explain --model noisy.py:network", "RuntimeError: two lines"),
        ("explain --model script.py:network", "SystemExit: 3; its code has ended the program"),
        ("explain --model relative.py:mine", "give it as a module of its package, such as relative:mine"),
        ("explain --model trained.py:network", "training mode"),
        ("explain --model mine.py:returns_dict", "Take one by fame_jax.Picked(network, 'logits')"),
        ("run folder pictures --out maps --model mine.py:returns_dict", "fame_jax.Picked(network, 'logits')"),
        ("explain --model mine.py:returns_pair", "fame_jax.Picked(network, 1)"),
        ("explain --model mine.py:returns_batch", "fame_jax.Picked(network, 0)"),
        ("explain --model mine.py:returns_map", "fame_jax.Picked(network, lambda maps: maps.mean((0, 1)))"),
        ("explain --model mine.py:short", "mine has 3 outputs, its card 2 labels"),
        ("run folder pictures --out maps --model mine.py:short", "mine has 3 outputs, its card 2 labels"),
        ("explain --model mine.py:single", "score has to be sigmoid or logit"),
        ("explain --model mine.py:grey", "its card has 1 channels, and photographs have three"),
        ("verify --model mine.py:large", "takes faces of 160 pixels, and they are aligned to 112 here"),
        ("explain --model mine.py:named --class circel", "the nearest names are circle (0)"),
        ("explain --model mine.py:named --class 3", "class 3 does not exist: the classes are 0 to 2"),
        ("explain --model mine.py:unnamed --class circle", "none is near; the classes are class 0 (0), class 1 (1)"),
        ("explain --model mine.py", "mine.py: name what is in it, as in mine.py:network"),
        ("explain --model nothing.py:network", "nothing.py has no 'network'. Expected a network"),
        ("explain --model gone.onnx --preset-input torchvision", "gone.onnx: no such file; expected an ONNX file"),
        ("explain --model gone.pth", "gone.pth: no such file or folder; expected a network"),
        ("explain --model zzz", "unknown network 'zzz'; expected one of mobilenet_v2, "),
        ("explain --method grad_cam,random --sigma 2", "--sigma means nothing to grad_cam or random; leave it out"),
        ("explain --method grad_cam --iterations 2", "--iterations means nothing to grad_cam"),
        ("explain --method grad_cam --stop auto", "--stop means nothing to grad_cam"),
        ("explain --threshold 0.3", "--threshold is that of --detection"),
        ("explain --model empty", "empty: no network.json; expected a folder made by"),
        ("run folder empty --out maps --model mine.py:named", "empty: no photographs"),
        ("run folder nowhere --out maps --model mine.py:named", "nowhere: there is no such folder"),
        ("locations --model mine.py:named", "no feature map: give it features and head"),
        ("calibrate pairs.csv --model mine.py:named", "--model mine.py:named is a classifier"),
        ("bench --model mine.py:returns_dict", "fame_jax.Picked(network, 'logits')"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line_before_any_work(command, words, here, fame):
    ended = fame(*command.split())
    assert ended.code == 2
    assert words in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not (here / "maps").exists()


def test_a_card_with_a_field_of_another_type_is_told(tmp_path):
    """In a process of its own, since tests check all types of all calls."""
    (tmp_path / "mine.py").write_text(
        "from fame_jax.models import Card\n"
        'def network():\n    return (lambda x: x[0, 0]), Card("mine", "class", "32", 36)'
    )
    command = [sys.executable, "-c", "from fame_jax.cli import main; main()", "explain", "--model", "mine.py:network"]
    ended = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    assert ended.returncode == 2
    assert ended.stderr == "fame: network(): CardError: the card's size is '32'; expected a whole number.\n"


def test_a_module_is_found_in_the_current_folder_and_imports_late(here, fame):
    package = here / "shapes"
    package.mkdir()
    (package / "parts.py").write_text((here / "mine.py").read_text())
    (package / "late.py").write_text("def network():\n    from shapes.parts import named\n    return named\n")
    for model in ("shapes.parts:named", "shapes.late:network", "shapes/late.py:network"):
        ended = fame("explain", "--model", model, "--class", "star", "--iterations", 1, "--no-progress")
        assert ended.code == 0, ended.err
        assert "FAME of star (2)" in ended.out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": "224"}, "size is '224'; expected a whole number"),
        ({"labels": ["cat", "dog"]}, "has 1000 outputs, its card 2 labels"),
    ],
)
def test_a_card_that_was_edited_by_hand_is_checked(changes, words, here, fame):
    shutil.copytree(models.installed("mobilenet_v2"), here / "edited")
    file = here / "edited" / "network.json"
    about = models.about(file.parent)
    file.write_text(json.dumps({"format": FORMAT, **about._asdict(), "card": about.card.to_json() | changes}))
    ended = fame("explain", "--model", "./edited")
    assert ended.code == 2
    assert words in ended.err
    assert len(ended.err.strip().splitlines()) == 1
