"""The names of the ImageNet classes, and the class that a word or a number means."""

import functools
import importlib.resources
import re
from collections.abc import Iterable, Sequence

from fame_jax.words import nearest

_SHOWN = 8


class ClassError(ValueError):
    """A class that does not exist or is not the only one meant; the message is one line and names the candidates."""


@functools.cache
def class_names() -> tuple[str, ...]:
    """The 1000 ImageNet classes in the order of torchvision's classifiers; the position is the index."""
    text = importlib.resources.files("fame_jax").joinpath("bundled", "imagenet_classes.txt").read_text("utf-8")
    return tuple(text.splitlines())


def resolve_class(text: str, names: Sequence[str]) -> int:
    """The index of the class that a user means.

    The first of these that fits decides: an index; a name letter for letter; a name but for case, hyphens, underscores
    and spaces; whole words of one; any part of one. (ImageNet has both Cardigan, a dog, and cardigan, a garment.)

    Args:
        text: for example `"285"`, `"Egyptian cat"` or `"egyptian"`.
        names: all class names in the order of the network's outputs.

    Raises:
        ClassError: if no class fits (the message gives the nearest names), if several fit equally well (it lists them
            with their indices), or if the index is out of range (it gives the range).

    Example:
        >>> resolve_class("egyptian", class_names())
        285
    """
    try:
        index = int(text)
    except ValueError:
        return _by_name(text, names)
    if not 0 <= index < len(names):
        raise ClassError(f"class {index} does not exist: the classes are 0 to {len(names) - 1}")
    return index


def called(name: str, names: Sequence[str]) -> list[int]:
    """The indices of the classes of a name: letter for letter, else but for case, hyphens, underscores and spaces.

    ImageNet has a Cardigan, which is a dog, beside a cardigan, and two cranes.
    """
    exact, wanted = name.strip(), _plain(name)
    return [at for at, one in enumerate(names) if one == exact] or [
        at for at, one in enumerate(names) if _plain(one) == wanted
    ]


def _by_name(text: str, names: Sequence[str]) -> int:
    wanted = _plain(text)
    plain = [_plain(name) for name in names]
    if not wanted:
        raise ClassError("the class is empty: give an index, a name or a part of one")
    rules = (
        called(text, names),
        [index for index, name in enumerate(plain) if f" {wanted} " in f" {name} "],
        [index for index, name in enumerate(plain) if wanted in name],
    )
    for found in rules:
        if len(found) == 1:
            return found[0]
        if found:
            raise ClassError(f"{text!r} fits {len(found)} classes: {_listed(found, names)}")
    near = nearest(wanted, plain, count=5)
    which = "the nearest names" if near else "none is near; the classes"
    listed = _listed((plain.index(name) for name in near) if near else range(len(names)), names)
    raise ClassError(f"no class is called {text!r}: {which} are {listed}")


@functools.cache
def _plain(name: str) -> str:
    return " ".join(re.split(r"[\s_-]+", name.casefold())).strip()


def _listed(indices: Iterable[int], names: Sequence[str]) -> str:
    shown = [f"{names[index]} ({index})" for index in indices]
    return ", ".join(shown[:_SHOWN]) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")
