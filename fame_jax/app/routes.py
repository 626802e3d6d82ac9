"""What a page can ask by name."""

from collections.abc import Callable, Mapping
from typing import Any

from fame_jax.app.asked import AskedError, asked, side
from fame_jax.app.session import Messages, Session
from fame_jax.data.classes import resolve_class
from fame_jax.data.images import SAMPLES

Route = Callable[[Session, dict[str, Any]], Messages]


def _sample(session: Session, content: dict[str, Any]) -> Messages:
    name = content.get("name")
    if name not in SAMPLES:
        raise AskedError(f"name: expected one of {', '.join(SAMPLES)}.")
    yield {"photograph": session.photographs.sample(name), "name": SAMPLES[name]}


def _look(session: Session, content: dict[str, Any]) -> Messages:
    return session.look(side(content).photograph)


def _find_faces(session: Session, content: dict[str, Any]) -> Messages:
    return session.find_faces(side(content).photograph)


def _find_detections(session: Session, content: dict[str, Any]) -> Messages:
    return session.find_detections(side(content).photograph)


def _compare(session: Session, content: dict[str, Any]) -> Messages:
    probe, gallery = side(content.get("probe")), side(content.get("gallery"))
    return session.compare((probe, gallery))


def _out(session: Session, content: dict[str, Any]) -> Messages:
    kind, colours, opacity = content.get("kind"), content.get("colours", "inferno"), content.get("opacity", 0.5)
    if not isinstance(kind, str) or not isinstance(colours, str) or type(opacity) not in (int, float):
        raise AskedError("kind, colours, opacity: expected a name, a name and a number.")
    yield {"done": session.out(asked(content.get("asked")), kind, colours, float(opacity))}


def _report(session: Session, content: dict[str, Any]) -> Messages:
    if not len(session.looked):
        raise AskedError("nothing has been looked at yet.")
    yield {"done": session.looked.report().encode("utf-8", "replace")}


def _find_class(session: Session, content: dict[str, Any]) -> Messages:
    """By the rule of the commands."""
    text = content.get("text")
    if not isinstance(text, str):
        raise AskedError("text: expected a number or a name.")
    yield {"index": resolve_class(text, session.desk("class").names)}


AT_ONCE: Mapping[str, Route] = {
    "offers": lambda session, content: session.offers(),
    "sample": _sample,
    "class": _find_class,
}
"""What is nothing for the devices: a page is there while they are still compiling."""

ROUTES: Mapping[str, Route] = {
    "look": _look,
    "explain": lambda session, content: session.explain(asked(content)),
    "road": lambda session, content: session.road(asked(content)),
    "faces": _find_faces,
    "detections": _find_detections,
    "compare": _compare,
    "out": _out,
    "report": _report,
}
"""What is answered in turn."""
