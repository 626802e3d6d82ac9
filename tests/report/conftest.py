"""Small runs and folders as the commands write them, with names that try to break out of the page."""

import html.parser
import json
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from fame_jax.data.records import ClassRecord, PairRecord, Picture
from fame_jax.experiments.rows import Row, Rows
from fame_jax.experiments.store import DONE, FAILED, Run, create_run
from fame_jax.metrics.table import metric

SIDE = 16
HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>.png"
MANIFEST = {
    "dataset": "a list",
    "network": "mobilenet_v2",
    "weights_sha256": "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
    "options": {"iterations": 5},
    "versions": {"jax": "1.2.3"},
    "device": {"kind": "an abacus"},
    "geometry": {"task": "class", "size": SIDE, "resize": SIDE},
}


class Element(NamedTuple):
    """A tag of the page with its attributes and the text right after it."""

    tag: str
    attributes: dict
    text: list


class Page(html.parser.HTMLParser):
    """The page as a browser reads it: its elements in order, and all text outside style and script."""

    def __init__(self, source):
        super().__init__()
        self.source, self.elements, self.texts, self.open = source, [], [], False
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.elements.append(Element(tag, dict(attrs), []))
        self.open = True

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.open:
            self.elements[-1].text.append(data)
        if self.cdata_elem is None:
            self.texts.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.texts).split())

    def all(self, tag, **attributes):
        return [e for e in self.elements if e.tag == tag and attributes.items() <= e.attributes.items()]

    def inside(self, tag):
        return ["".join(e.text) for e in self.all(tag)]

    @property
    def records(self):
        return json.loads("".join(self.all("script", id="records")[0].text))


def peak(row, column):
    """A map that points at one place."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 6).astype(np.float32)


@pytest.fixture
def picture(tmp_path):
    """Writes a small photograph under a name."""
    folder = tmp_path / "photographs"
    folder.mkdir()

    def written(name, shade=120):
        path = folder / name.replace("/", "∕")
        Image.new("RGB", (20, 16), (shade, 80, 40)).save(path, format="PNG")
        return path

    return written


@pytest.fixture
def class_run(tmp_path, picture):
    """A run of four photographs by one method; more or other columns by name."""

    def made(name, method="fame", names=("a.png", "b.png", HOSTILE, "d.png"), manifest=(), failures=(), **columns):
        records = [ClassRecord(n, Picture(picture(n)), label) for label, n in enumerate(names)]
        head = {"task": "class", "block_size": 8, "method": method, **MANIFEST, **dict(manifest)}
        run = create_run(tmp_path / name, head, records, size=SIDE)
        count, failures = len(records), dict(failures)
        state = [FAILED if i in failures else DONE for i in range(count)]
        arrays = {
            "state": np.asarray(state, np.uint8),
            "label": np.arange(count, dtype=np.int32),
            "attribution": np.stack([peak(4 * i % SIDE, 4) for i in range(count)]),
            "status": np.zeros((count, 1), np.int8),
            "steps": np.full((count, 1), 5, np.int32),
            "first_loss": 10 + np.arange(count, dtype=float)[:, None] / 8,
            "last_loss": -2.0 * np.arange(count)[:, None] - 0.25,
        }
        run.write_block(0, {**arrays, **columns}, failures)
        return run.folder

    return made


@pytest.fixture
def pair_run(tmp_path, picture):
    """A run of two pairs of photographs that hold no faces; the second has no e-."""
    folder = tmp_path / "pairs"
    pairs = [PairRecord(f"pair {i}", Picture(picture(f"p{i}.png")), Picture(picture("g.png")), i == 0) for i in (0, 1)]
    aligned = {"task": "pair", "size": 112, "resize": 112, "aligned": True}
    head = {**MANIFEST, "task": "pair", "block_size": 8, "method": "fame", "geometry": aligned}
    run = create_run(folder, head, pairs, size=SIDE)
    status = np.zeros((2, 4), np.int8)
    status[1, [1, 3]] = -1
    arrays = {name: np.stack([peak(3, 3), peak(12, 12)]) for name in run.roles}
    arrays |= {"state": np.full(2, DONE, np.uint8), "similarity": np.array([0.8125, 0.25]), "status": status}
    run.write_block(0, arrays, {})
    return folder


def write_scores(folder, name, values, **options):
    """Rows as `fame score` writes them; records without values are left out."""
    run, chosen = Run(folder), metric(name)
    rows = [
        Row(i, record.name, {figure: np.asarray(value) for figure, value in values[i].items()})
        if i in values
        else Row(i, record.name, {}, reason="left out by the test")
        for i, record in enumerate(run.records)
    ]
    Rows(run, chosen, "paper", {**chosen.options(), **options}).append(rows)
