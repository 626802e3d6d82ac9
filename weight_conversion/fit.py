"""Which arrays of a checkpoint are a network's: behind which prefix of the keys, and under which name in the file.

Training tools wrap a state dict (`state_dict`, `model`, `model_ema`, ...) and put prefixes before its keys (`module.`,
`_orig_mod.`, `model.`, ...). None of these names is known here: the place where all the network's keys are is looked
for, whatever it is called.
"""

import collections
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from weight_conversion.checkpoint_file import read_candidates
from weight_conversion.errors import ConversionError

Sources = Callable[[str, Collection[str]], list[str]]
"""The keys that a network asks for, behind a prefix, in a checkpoint with these keys."""


class Fit(NamedTuple):
    """Where a network's weights are in a file.

    Attributes:
        state: the arrays of that place, by the checkpoint's own keys.
        prefix: before the keys that the network asks for, with its last dot.
        place: name of the dictionary in the file; empty for the file itself.
        sources: the spelling of the keys that it has.
    """

    state: Mapping[str, np.ndarray]
    prefix: str
    place: str
    sources: Sources

    @property
    def name(self) -> str:
        """What `--key` calls it."""
        return f"{self.place}.{self.prefix}".strip(".")


def prefixes(keys: Collection[str], sources: Sources) -> list[str]:
    """Every prefix behind which at least one of a network's keys is, those with the most keys first."""
    votes = _votes(keys, sources)
    return sorted(votes, key=lambda prefix: (-votes[prefix], len(prefix)))


def _votes(keys: Collection[str], sources: Sources) -> collections.Counter[str]:
    """By prefix, how many of a network's keys are behind it."""
    bare = set(sources("", ())) | set(sources("", keys))
    votes: collections.Counter[str] = collections.Counter()
    for key in keys:
        parts = key.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in bare:
                votes["".join(f"{part}." for part in parts[:start])] += 1
    return votes


def complete(keys: Collection[str], sources: Sources) -> list[str]:
    """Every prefix behind which all of a network's keys are."""
    there = frozenset(keys)
    return [prefix for prefix in prefixes(keys, sources) if there.issuperset(sources(prefix, there))]


def fit(path: str | os.PathLike[str], spellings: Sequence[Sources], key: str | None = None) -> Fit:
    """The place in a file where a network's weights are.

    If there is none, the one where most of them are, so that what is missing can be said.

    Args:
        path: of the file, see `read_checkpoint`.
        spellings: the keys that the network asks for, as one publisher or another spells them.
        key: the place's name in the file, its prefix included; what lies beside it is not looked at.

    Raises:
        CheckpointError: if the file cannot be read.
        ConversionError: if several places have different weights that fit, or none has the name asked for.
    """
    places = read_candidates(path, lambda keys: any(complete(keys, sources) for sources in spellings))
    fits = [
        Fit(state, prefix, place, sources)
        for place, state in places.items()
        for sources in spellings
        for prefix in complete(state, sources)
    ]
    fits = fits or [nearest(state, place, spellings) for place, state in places.items()]
    if key is not None:
        fits = [_alone(found) for found in fits if f"{found.name}.".startswith(f"{key.strip('.')}.")]
        if not fits:
            raise ConversionError(f"no weights of this network under {key!r}, only under {_listed(places)}.")
    first, *others = fits
    if any(not _equal(first, other) for other in others):
        raise ConversionError(f"several weights fit: {_listed(found.name for found in fits)}; choose one by --key.")
    return first


def nearest(state: Mapping[str, np.ndarray], place: str, spellings: Sequence[Sources]) -> Fit:
    """Where most of a network's keys are, in the spelling that has most."""
    best = max(spellings, key=lambda sources: max(_votes(state, sources).values(), default=0))
    return Fit(state, next(iter(prefixes(state, best)), ""), place, best)


def _alone(found: Fit) -> Fit:
    inside = {key: value for key, value in found.state.items() if key.startswith(found.prefix)}
    return found._replace(state=inside)


def _equal(one: Fit, other: Fit) -> bool:
    pairs = zip(one.sources(one.prefix, one.state), other.sources(other.prefix, other.state), strict=True)
    return all(np.array_equal(one.state.get(a, ()), other.state.get(b, ())) for a, b in pairs)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) if name else "the file itself" for name in names)
