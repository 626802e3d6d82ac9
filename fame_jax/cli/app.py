"""`fame app`: a page to explore, on this machine."""

import functools
import threading
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass, field

from fame_jax.app import Again, Desk, Server, Session, Threshold
from fame_jax.cli import interrupts
from fame_jax.cli.console import InputError, say
from fame_jax.cli.flags import OF_CARDS, USUAL, Flat, NetworkFlags
from fame_jax.cli.thresholds import stored_threshold
from fame_jax.explainers.explainer import Task
from fame_jax.models import Card, Loaded


@dataclass(frozen=True)
class App:
    """Open a page to explore: drop a photograph, ask for a class, look at the map while it walks; compare two faces.

    The page is served to this machine alone, by an address with a token. Photographs stay in memory, nothing is written
    and nothing is fetched. Ctrl-C ends it.
    """

    network: Flat[NetworkFlags] = field(default_factory=NetworkFlags)
    port: int = 0
    """Of the page. Omitted: any free one."""
    browser: bool = True
    """Open the page in the browser."""

    def __call__(self) -> int:
        """Serves until Ctrl-C."""
        if not 0 <= self.port < 2**16:
            raise InputError(f"--port {self.port}: expected 0 to {2**16 - 1}.")
        session = Session(desks(self.network))
        try:
            server = Server(session, self.port)
        except OSError as error:
            raise InputError(f"--port {self.port}: {error.strerror}; leave it out for any free port.") from error
        server.begin()
        say(f"Open {server.address}\nto explore; Ctrl-C ends it.")
        try:
            threading.Thread(target=session.warm, daemon=True).start()
            if self.browser:
                webbrowser.open(server.invitation())
            while True:
                threading.Event().wait(0.5)
                interrupts.raise_if_seen()
        except KeyboardInterrupt:
            say("Ended.")
        finally:
            server.end()
        return 0


def desks(flags: NetworkFlags) -> dict[str, Callable[[], Desk]]:
    """How the networks are made, by subject; what is told of one now, so that its faults are known at once."""
    given = flags.load(detectors=True) if flags.given() else None
    usual = NetworkFlags(precision=flags.precision)

    @functools.cache
    def found(task: Task) -> tuple[Loaded, Again]:
        if given is not None and given.card.task == OF_CARDS[task]:
            return given, _again(flags, given.card)
        return usual.load(task), Again(USUAL[task])

    def desk(task: Task) -> Desk:
        (card, network), again = found("pair" if task == "pair" else "class")
        threshold = Threshold()
        if task == "pair":
            stored = stored_threshold(card.name, card.sha256)
            threshold = Threshold(stored.value, stored.source)
        return Desk(card, network, task, again, flags.precision, threshold)

    def detection() -> Desk:
        from fame_jax.cli.detections import as_detector

        loaded, again = found("detect")
        card, network = as_detector(loaded)
        return Desk(card, network, "class", again, flags.precision)

    tasks: tuple[Task, ...] = ("class", "location", "pair")
    return {task: functools.partial(desk, task) for task in tasks} | {"detection": detection}


def _again(flags: NetworkFlags, card: Card) -> Again:
    """How the network that the flags tell is found again."""
    arguments = "" if flags.weights is None else f", {str(flags.weights.absolute())!r}"
    if flags.graph.given():
        arguments += f", card=fame_jax.models.Card.from_json({ ({**card.to_json(), 'labels': None})!r})"
    return Again(flags.source or USUAL["class"], tuple(flags.words()), arguments)
