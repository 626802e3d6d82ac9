"""The results of a method as they come about: for a page on which the map appears while it walks."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp

from fame_jax.batching.watched import watch
from fame_jax.core import Explanation, after_walk
from fame_jax.engine import Method, starts, without_filling
from fame_jax.explainers.explainer import MAPS
from fame_jax.explaining import Results
from fame_jax.questions import Seen
from fame_jax.walk import Perturbation


def watched(method: Method, seen: Seen, every: int) -> Iterator[tuple[int, Results]]:
    """A question as a method works on it.

    Args:
        method: of an engine.
        seen: of `Engine.look`.
        every: steps of a walk between two results.

    Returns:
        Iterator over the place in `MAPS` of the map that has just changed, and all maps so far; None for those to come.
        The last of them are those of `Method.results`. A method without walks gives each map once.
    """
    places = range(len(MAPS[method.engine.task]))
    if not method.walks:
        (found,) = method.results([seen])
        yield from ((place, found) for place in places)
        return
    loss, rules, of_map = method.walk()
    done: Results = ()
    for place, (image, args) in zip(places, starts(method.engine.task, seen), strict=True):
        now = None
        for walk in watch(loss, (image, args), method.engine.network, every=every, **rules):
            now = jax.device_get(after_walk(jnp.asarray(image), walk, **of_map))
            yield place, without_filling(seen, (*done, now, *[None] * (len(places) - place - 1)))
        done = (*done, now)


def blurred_again(method: Method, seen: Seen, results: Results) -> Results:
    """The maps of walks that were watched, made anew with the blur of another method that walks alike."""
    _, _, of_map = method.walk()

    def anew(image: jax.Array, result: Explanation | None) -> Explanation | None:
        if result is None:
            return None
        walk = Perturbation(*map(jnp.asarray, result[1:]))
        return jax.device_get(after_walk(image, walk, **of_map))

    images = [jnp.asarray(image) for image, _ in starts(method.engine.task, seen)]
    return without_filling(seen, tuple(map(anew, images, results)))
