"""What a page can ask for, and the answers, message by message; nothing here knows how they travel."""

import contextlib
import json
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import jax
import numpy as np

from fame_jax import files
from fame_jax.app import pictures
from fame_jax.app.again import again
from fame_jax.app.asked import Asked, AskedError, Side
from fame_jax.app.boxes import BoxesInMemory
from fame_jax.app.desk import Desk
from fame_jax.app.faces import FacesInMemory
from fame_jax.app.line import Line
from fame_jax.app.looked import Look, Looked
from fame_jax.app.memory import MOST_UPLOADED, Photographs, Recent
from fame_jax.data.images import load
from fame_jax.engine import Method
from fame_jax.explainers.explainer import MAPS
from fame_jax.explainers.table import EXPLAINERS
from fame_jax.explaining import Results
from fame_jax.inputs import geometry
from fame_jax.metrics.evenness import remark
from fame_jax.metrics.locality import locality
from fame_jax.metrics.road import PERCENTS, road_delete
from fame_jax.questions import Question, Seen
from fame_jax.scores import scores_of
from fame_jax.walk import Status
from fame_jax.watching import blurred_again, watched

Messages = Generator[dict[str, Any], None, None]
"""JSON but for NumPy arrays and bytes; `{"before": 2}` tells one's place in the line."""

FRAMES, TOP = 50, 8
_RESULTS, _IMAGES = 64, 32  # Kept in memory.
_WALKS = 192 << 20  # Bytes of them.


class Session:
    """The networks, the photographs in memory, the line, and what was found lately.

    Args:
        make: makes the desk of a subject when it is first asked for.
    """

    def __init__(self, make: Mapping[str, Callable[[], Desk]]) -> None:
        self._make, self._desks = make, dict[str, Desk]()
        self.photographs, self.line, self.looked = Photographs(), Line(), Looked()
        self.faces = FacesInMemory(self.photographs)
        self.boxes = BoxesInMemory(self.photographs, make.get("detection"))
        self._seen, self._images = Recent[Seen](_IMAGES), Recent[np.ndarray](_IMAGES)
        self._walks = Recent[list[tuple[int, Results]]](_WALKS)
        self._results = Recent[Results](_RESULTS)
        self.closed = False
        self._making = threading.Lock()

    def desk(self, about: str) -> Desk:
        """The network of a subject, loaded once.

        Raises:
            AskedError: if there is none.
        """
        if about not in self._make:
            raise AskedError(f"this page has no network for {about}.")
        with self._making:
            if about not in self._desks:
                self._desks[about] = self._make[about]()
            return self._desks[about]

    def desk_for(self, asked: Asked) -> Desk:
        """The network of a question; that of detections is about one photograph."""
        return self.boxes.desk(asked.sides[0].photograph) if asked.about == "detection" else self.desk(asked.about)

    def in_turn(self, work: Callable[[], Messages]) -> Messages:
        """The messages of some work once it is its turn, with the place in the line before.

        Closing the iterator leaves the line, and ends a walk at its next message.
        """
        me = object()
        try:
            yield from ({"before": before} for before in self.line.wait(me))
            for message in work():
                yield message
                if self.closed:
                    return
        finally:
            self.line.leave(me)

    def offers(self) -> Messages:
        """What a page needs to know before anything is asked."""
        desk = self.desk("class")
        yield {
            "network": desk.card.name,
            "subjects": list(self._make),
            "names": desk.names,
            "methods": desk.methods(),
            "colours": pictures.tables(),
            "most": MOST_UPLOADED,
        }

    def look(self, photograph: str) -> Messages:
        """The photograph as the classifier sees it, and its top classes."""
        desk = self.desk("class")
        seen = self.seen(Asked("class", (Side(photograph),)))
        scores = np.asarray(scores_of(jax.numpy.asarray(seen.outputs[0]), desk.card.score))
        top = np.argsort(-scores, kind="stable")[:TOP]
        image = np.asarray(seen.images[0], np.float32)
        yield {
            "name": self.photographs.find(photograph).name,
            "image": pictures.webp(image),
            "size": image.shape[:2],
            "grid": desk.grid,
            "score": desk.card.score,
            "top": [{"index": int(i), "name": desk.name(int(i)), "score": files.number(scores[i])} for i in top],
        }

    def seen(self, asked: Asked) -> Seen:
        """The images of a question, and what the network says of them."""
        key = (asked.about, asked.sides, asked.target)
        found = self._seen.find(key)
        if found is None:
            desk = self.desk_for(asked)
            desk.check_target(asked.target)
            (found,) = desk.engine.look([self._question(asked, desk)])
            self._seen.put(key, found)
        return found

    def _question(self, asked: Asked, desk: Desk) -> Question:
        if asked.about == "pair":
            crops = [self.faces.crop(one) for one in asked.sides]
            return Question(tuple(c.image for c in crops), None, tuple(c.filled for c in crops))
        if asked.about == "detection":
            return Question((self.boxes.of(asked.sides[0].photograph).image,), asked.target)
        digest, view = asked.sides[0].photograph, geometry(desk.card)
        image = self._images.find(digest)
        if image is None:
            image = self._images.put(digest, load(self.photographs.find(digest), view.resize, view.size))
        return Question((image,), asked.target)

    def explain(self, asked: Asked) -> Messages:
        """The maps of a question as they come about: a `frame` each, at the end what is to be said of them."""
        desk, start = self.desk_for(asked), time.perf_counter()
        seen, method = self.seen(asked), desk.method(asked)
        results: Results = ()
        for place, results in self._worked(asked, method, seen):
            yield _frame(MAPS[desk.task][place], results[place])
        self._results.put(asked, results)
        done = {
            "maps": {name: _told(result) for name, result in zip(MAPS[desk.task], results, strict=True)},
            "seconds": round(time.perf_counter() - start, 2),
            "again": self.again(asked),
        }
        if asked.about == "location":
            done["locality"] = self._locality(asked, desk, results)
        self.looked.keep(self._look(asked, desk, seen, results))
        yield {"done": done}

    def _worked(self, asked: Asked, method: Method, seen: Seen) -> Iterator[tuple[int, Results]]:
        """The walk, or one that was watched before with another blur."""
        if not method.walks:
            yield from watched(method, seen, asked.iterations)
            return
        frames = self._walks.find(asked.unblurred)
        if frames is not None:
            yield from ((place, blurred_again(method, seen, found)) for place, found in frames)
            return
        frames = []
        for place, found in watched(method, seen, -(-asked.iterations // FRAMES)):
            frames.append((place, found))
            yield place, found
        if asked.about != "location":  # Of which there are too many to keep.
            weight = sum(np.asarray(leaf).nbytes for place, found in frames for leaf in found[place] or ())
            self._walks.put(asked.unblurred, frames, weight)

    def again(self, asked: Asked) -> dict[str, str]:
        """The command and the Python lines that make the map of a question."""
        if asked.about == "class":
            asked = replace(asked, target=int(self.seen(asked).target))
        return again(asked, self.desk_for(asked), [self.photographs.find(one.photograph) for one in asked.sides])

    def results(self, asked: Asked) -> Results:
        """The last maps of a question, explained now if they are not known."""
        if self._results.find(asked) is None:
            for _ in self.explain(asked):
                pass
        found = self._results.find(asked)
        assert found is not None
        return found

    def road(self, asked: Asked) -> Messages:
        """Whether a map of a class tells more than a blob in the centre: the drop of the score by ROAD, of both."""
        desk, seen, (result,) = self.desk_for(asked), self.seen(asked), self.results(asked)
        assert result is not None
        image, label = jax.numpy.asarray(seen.images[0]), jax.numpy.int32(seen.target)
        ((blob,),) = desk.method(replace(asked, method="blob")).results([seen])
        assert blob is not None
        drops = {}
        for name, one in (("map", result), ("blob", blob)):
            shown = jax.numpy.asarray(one.attribution, image.dtype)
            found = road_delete(desk.network, image, shown, label, jax.random.key(0), fractions_removed=PERCENTS)
            drops[name] = files.number(np.mean(np.asarray(found.drops)))
            yield {"measured": name}
        yield {"done": {**drops, "percents": PERCENTS}}

    def _locality(self, asked: Asked, desk: Desk, results: Results) -> dict[str, Any]:
        assert results[0] is not None
        assert desk.grid is not None
        found = locality(jax.numpy.asarray(results[0].attribution), jax.numpy.asarray(asked.target), desk.grid)
        return {name: files.number(np.asarray(value)) for name, value in found._asdict().items()}

    def _look(self, asked: Asked, desk: Desk, seen: Seen, results: Results) -> Look:
        names = tuple(self.photographs.find(one.photograph).name for one in asked.sides)
        facts = f"predicted {desk.name(seen.predicted)}" if asked.about == "class" else ""
        return Look(asked, desk.card, names, self._target(asked, desk, seen), facts, seen, results)

    @staticmethod
    def _target(asked: Asked, desk: Desk, seen: Seen) -> str:
        """What is explained, in words; empty of a pair."""
        if asked.about == "location":
            return f"location {asked.target}"
        return "" if asked.about == "pair" else desk.name(int(seen.target))

    def find_faces(self, photograph: str) -> Messages:
        """A photograph to look at, and the faces in it."""
        image, (faces, aligned) = self.faces.found(photograph)
        boxes = [{"box": [round(float(x), 1) for x in face.box], "score": round(face.score, 3)} for face in faces]
        yield {
            "name": self.photographs.find(photograph).name,
            "image": pictures.webp(image),
            "size": image.shape[:2],
            "faces": boxes,
            "aligned": aligned,
        }

    def find_detections(self, photograph: str) -> Messages:
        """A photograph as the detector sees it, and the boxes in it."""
        held, (image, found, desk) = self.photographs.find(photograph), self.boxes.of(photograph)
        boxes = [
            {"name": desk.name(number) if desk else "", "box": [round(float(x), 1) for x in one.box]}
            for number, one in enumerate(found)
        ]
        yield {
            "name": held.name,
            "image": pictures.webp(image),
            "size": image.shape[:2],
            "detections": boxes,
            **self.boxes.about(),
        }

    def compare(self, sides: tuple[Side, Side]) -> Messages:
        """Two faces as the network sees them, how similar it finds them, and what that means."""
        desk, seen = self.desk("pair"), self.seen(Asked("pair", sides))
        value = desk.threshold.value
        known = math.isfinite(value)
        yield {
            "images": [pictures.webp(np.asarray(image, np.float32)) for image in seen.images],
            "size": seen.images[0].shape[:2],
            "notes": [self.faces.whole_crop(one).note for one in sides],
            "similarity": files.number(seen.similarity),
            "threshold": value if known else None,
            "source": desk.threshold.source,
            "decision": ("match" if seen.similarity >= value else "no match") if known else "undecided",
        }

    def out(self, asked: Asked, kind: str, colours: str, opacity: float) -> bytes:
        """The last maps of a question as a picture (`png`) or as arrays with a manifest (`npz`).

        Raises:
            AskedError: for another kind.
        """
        desk, results, seen = self.desk_for(asked), self.results(asked), self.seen(asked)
        images = [np.asarray(image, np.float32) for image in seen.images]
        found = dict(zip(MAPS[desk.task], results, strict=True))
        maps = {name: np.asarray(result.attribution, np.float32) for name, result in found.items() if result}
        manifest = self._manifest(asked, desk, found)
        if kind == "png":
            about = f"similarity {seen.similarity:.3f}" if asked.about == "pair" else self._target(asked, desk, seen)
            return pictures.png(images, maps, f"{asked.method}: {about}", colours, opacity)
        if kind != "npz":
            raise AskedError("kind: expected png or npz.")
        named = dict(zip(("probe", "gallery") if len(images) == 2 else ("image",), images, strict=True))
        return pictures.npz(**named, **maps, manifest=json.dumps(manifest, default=str))

    def _manifest(self, asked: Asked, desk: Desk, found: Mapping[str, Any]) -> dict[str, Any]:
        held = [self.photographs.find(one.photograph) for one in asked.sides]
        return {
            "command": "app",
            "methods": [asked.method],
            "network": desk.card.name,
            "source": desk.again.source,
            "weights_sha256": desk.card.sha256,
            "asked": asdict(asked),
            "options": desk.options(EXPLAINERS[asked.method], asked),
            **self.again(asked),
            **files.environment(),
            "inputs": [{"path": h.name, "sha256": s.photograph} for h, s in zip(held, asked.sides, strict=True)],
            "maps": {name: _told(result) for name, result in found.items()},
        }

    def warm(self) -> None:
        """Compiles what a first photograph needs, by a walk of two steps of the packaged cat."""
        asked = Asked("class", (Side(self.photographs.sample("cat")),), iterations=2)

        def work() -> Messages:
            yield from self.look(asked.sides[0].photograph)
            for _ in watched(self.desk("class").method(asked), self.seen(asked), 1):
                yield {}

        with contextlib.closing(self.in_turn(work)) as messages:
            for _ in messages:
                pass


def _frame(name: str, result: Any) -> dict[str, Any]:
    if result is None:
        return {"frame": {"map": name, "values": None}}
    return {
        "frame": {
            "map": name,
            "steps": int(result.steps),
            "first_loss": files.number(result.first_loss),
            "last_loss": files.number(result.last_loss),
            "values": np.asarray(result.attribution, np.float32),
        }
    }


def _told(result: Any) -> dict[str, Any]:
    """What is to be said of a map."""
    if result is None:
        return {"status": Status.NO_MAP.message, "words": Status.NO_MAP.message}
    status = Status(int(result.status)).message
    noted = remark(np.asarray(result.attribution))
    return {
        "status": status,
        "remark": noted.words,
        "words": noted.beside(status),
        "steps": int(result.steps),
        "first_loss": files.number(result.first_loss),
        "last_loss": files.number(result.last_loss),
    }
