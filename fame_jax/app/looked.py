"""What was looked at, kept as small pictures, and the report of it."""

import pathlib
import threading
from collections import OrderedDict
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fame_jax import files
from fame_jax.app.asked import Asked
from fame_jax.explainers.explainer import MAPS
from fame_jax.explainers.table import EXPLAINERS
from fame_jax.explaining import Results
from fame_jax.models import Card
from fame_jax.questions import Seen
from fame_jax.report import page
from fame_jax.report.content import Column, Item, Source, Verdict
from fame_jax.report.encoded import encoded_image, encoded_map
from fame_jax.report.words import layer, method_title
from fame_jax.walk import Status

MOST = 200
"""Maps in a report; older ones are forgotten."""

_PICTURES = {1: ("photograph",), 2: ("probe", "gallery")}


class Look(NamedTuple):
    """One answer.

    Attributes:
        asked: the question.
        card: of the network.
        names: of the photographs.
        target: in words; empty for a pair.
        facts: what the network says of the photograph, in words.
        seen: the images.
        results: the maps.
    """

    asked: Asked
    card: Card
    names: tuple[str, ...]
    target: str
    facts: str
    seen: Seen
    results: Results


class Looked:
    """The answers of a session, newest last; the same question again replaces its answer."""

    def __init__(self) -> None:
        self._kept, self._lock = OrderedDict[Asked, tuple[Card, Item, tuple[str, ...]]](), threading.Lock()

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def keep(self, look: Look) -> None:
        """Keeps an answer."""
        kept = look.card, _item(look), look.names
        with self._lock:
            self._kept.pop(look.asked, None)
            self._kept[look.asked] = kept
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)

    def report(self) -> str:
        """An HTML report of all of them, in one file that needs nothing else."""
        with self._lock:
            kept = list(self._kept.items())
        sources = []
        for network in dict.fromkeys(card.name for _, (card, _, _) in kept):
            mine = [(asked, *of) for asked, of in kept if of[0].name == network]
            manifest = {
                "command": "fame app",
                "network": network,
                "weights_sha256": mine[0][1].sha256,
                "methods": sorted({asked.method for asked, *_ in mine}),
                "options": {"iterations": sorted({asked.iterations for asked, *_ in mine})},
                **files.environment(),
            }
            items = tuple(item for _, _, item, _ in mine)
            inputs = [(n, s.photograph) for a, _, _, names in mine for n, s in zip(names, a.sides, strict=True)]
            found = Source(pathlib.Path(), "in memory", f"fame app, {network}", manifest, items, total=len(items))
            sources.append(replace(found, inputs=tuple(dict.fromkeys(inputs))))
        return page(sources, title="What was looked at")


def _item(look: Look) -> Item:
    kind, pair = look.asked.about, look.asked.about == "pair"
    layers = {
        name: layer(
            name,
            None if result is None else encoded_map(np.asarray(result.attribution, np.float32)),
            None if result is None else np.asarray(result.attribution, np.float32),
            Status.NO_MAP.message if result is None else Status(int(result.status)).message,
            first_loss=None if result is None else files.number(result.first_loss),
            last_loss=None if result is None else files.number(result.last_loss),
            steps=0 if result is None else int(result.steps),
        )
        for name, result in zip(MAPS["pair" if pair else "class"], look.results, strict=True)
    }
    images = [np.asarray(image, np.float32) for image in look.seen.images]
    method = look.asked.method
    loss = {"location": "activation", "detection": "similarity"}.get(kind) or EXPLAINERS[method].lowers({})
    how = "" if look.asked.sigma is None else f"blur of {look.asked.sigma:g} pixels"
    verdict = Verdict(look.seen.similarity if pair else None, look.facts)
    return Item(
        kind="pair" if pair else "class",
        name=" and ".join(look.names),
        key=(kind, *(f"{side}" for side in look.asked.sides)),
        pictures=dict(zip(_PICTURES[len(images)], map(encoded_image, images), strict=True)),
        columns=(Column(method, method_title(method), look.target, layers, loss=loss, how=how),),
        verdicts=((look.card.name, verdict),) if pair or look.facts else (),
    )
