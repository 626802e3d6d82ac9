"""Table 3: seconds of FAME by number of steps, and of the methods of pairs, one image at a time as in the paper."""

import functools
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fame_jax import bench
from fame_jax.explainers.fame import class_map
from fame_jax.explainers.table import explainer
from fame_jax.files import read_json
from fame_jax.models import Loaded

KINDS = ("seconds_a_photograph", "seconds_a_pair")
"""Seconds by number of steps, and by method."""

Seconds = dict[str, Any]
"""`network`, `device`, `number` of images timed, and one or both of `KINDS`; as JSON in a file of seconds."""


class SecondsError(ValueError):
    """A file that holds no seconds; the message is one line and names it."""


def of_steps(
    loaded: Loaded,
    image: Any,
    steps: Sequence[int],
    repeats: int = 3,
    progress: Callable[[int], object] = lambda done: None,
) -> Seconds:
    """Tab. 3a: FAME of one photograph `[H, W, 3]`, the fastest of several times without compilation.

    Progress is called with 1 after each number of steps.
    """
    network = loaded.network
    label = jnp.argmax(network(image))
    explain = jax.jit(lambda network, image, label, steps: class_map(network, image, label, iterations=steps))
    found = {}
    for n in steps:
        found[str(n)] = _fastest(functools.partial(explain, network, image, label, n), repeats)
        progress(1)
    return _seconds(loaded, KINDS[0], found)


def of_pairs(
    loaded: Loaded,
    *faces: Any,
    methods: Sequence[str],
    repeats: int = 3,
    progress: Callable[[int], object] = lambda done: None,
    **wanted: Any,
) -> Seconds:
    """Tab. 3b: probe and gallery by each method; `wanted` are options of those methods that have them."""
    key, found = jax.random.key(0), {}
    for method in methods:
        row = explainer(method)
        options = {name: value for name, value in wanted.items() if name in row.options("pair")}
        explain = jax.jit(functools.partial(row.explain_pair, key=key, **options))
        found[method] = _fastest(functools.partial(explain, loaded.network, *faces), repeats)
        progress(1)
    return _seconds(loaded, KINDS[1], found)


def read_seconds(file: pathlib.Path) -> Seconds:
    """What one of the functions above has measured, from a file.

    Raises:
        SecondsError: naming the file.
    """
    try:
        content = read_json(file)
        kinds = set(KINDS) & set(content)
        if not kinds or not all(isinstance(content[name], str) for name in ("network", "device")):
            raise ValueError("network, device and seconds are expected")
        for seconds in (seconds for kind in kinds for seconds in content[kind].values()):
            if type(seconds) not in (int, float) or not math.isfinite(seconds):
                raise ValueError(f"{seconds!r} is no finite number")
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, OSError) as error:
        raise SecondsError(f"{file}: no file of seconds ({error}); fame reproduce table_3 writes them.") from error
    return content


def _fastest(work: Callable[[], Any], repeats: int) -> float:
    bench.seconds(work)
    return min(bench.seconds(work) for _ in range(repeats))


def _seconds(loaded: Loaded, kind: str, found: dict[str, float]) -> Seconds:
    return {"network": loaded.card.name, "device": jax.devices()[0].device_kind, "number": 1, kind: found}
