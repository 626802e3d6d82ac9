"""What a network returns, found by its shapes alone before any work."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fame_jax.models.card import Card


class OutputError(ValueError):
    """A network that does not return one vector of numbers for one image."""


class Description(NamedTuple):
    """What a network returns.

    Attributes:
        outputs: number of logits, or length of the embedding.
        features: shape of the feature map `[h, w, c]`; None if the network has none.
    """

    outputs: int
    features: tuple[int, ...] | None


# What a network may take in place of one image with its channels last, to say so where it does.
_OTHER_INPUTS = {
    "a batch": lambda image: image[None],
    "channels first": lambda image: jnp.moveaxis(image, -1, 0),
    "a batch with channels first": lambda image: jnp.moveaxis(image, -1, 0)[None],
}


def describe(network: Any, card: Card) -> Description:
    """What a network returns for an image of its card's size and channels; nothing is computed.

    Raises:
        OutputError: in one line with what it returns, if that is not one floating point vector, not as long as the
            card's labels, or of a single output with `softmax` as its score.
    """
    image = jax.ShapeDtypeStruct((card.size, card.size, len(card.mean)), jnp.float32)
    try:
        returned = jax.eval_shape(network, image)
    except Exception as error:
        raise OutputError(f"{card.name} fails on {_shown(image)}{_takes(network, image)}: {_line(error)}") from error
    if not isinstance(returned, jax.ShapeDtypeStruct):
        raise OutputError(f"{card.name} returns {_shown(returned)}; expected one array [outputs]. {_pick(returned)}")
    if returned.ndim != 1 or returned.size == 0 or not jnp.issubdtype(returned.dtype, jnp.floating):
        raise OutputError(
            f"{card.name} returns {_shown(returned)} for {_shown(image)}; expected floating point [outputs]. "
            f"{_pick(returned)}"
        )
    check_outputs(card, returned.shape[0])
    return Description(returned.shape[0], _feature_shape(network, image, card))


def check_outputs(card: Card, outputs: int) -> None:
    """Refuses a card of another number of labels, or one whose score says nothing.

    Raises:
        OutputError: in one line.
    """
    if card.labels is not None and len(card.labels) != outputs:
        raise OutputError(f"{card.name} has {outputs} outputs, its card {len(card.labels)} labels.")
    if outputs == 1 and card.task == "class" and card.score == "softmax":
        raise OutputError(
            f"{card.name} has a single output, whose softmax is always 1; its card's score has to be sigmoid or logit."
        )


def _feature_shape(network: Any, image: jax.ShapeDtypeStruct, card: Card) -> tuple[int, ...] | None:
    features = getattr(network, "features", None)
    if not callable(features) or not callable(getattr(network, "head", None)):
        return None
    try:
        return jax.eval_shape(features, image).shape
    except Exception as error:
        raise OutputError(f"{card.name}.features fails on {_shown(image)}: {_line(error)}") from error


def _takes(network: Any, image: jax.ShapeDtypeStruct) -> str:
    """What the network takes instead, if it takes that."""
    for words, turned in _OTHER_INPUTS.items():
        try:
            jax.eval_shape(lambda x, turned=turned: network(turned(x)), image)
        except Exception:
            continue
        return f" (it takes {words}; give a function that turns one image and calls it)"
    return ""


def _pick(returned: Any) -> str:
    example = "lambda outputs: ..."
    if isinstance(returned, dict | tuple | list) and returned:
        pairs = list(returned.items() if isinstance(returned, dict) else enumerate(returned))
        # The first vector, if there is one.
        example = repr(min(pairs, key=lambda pair: getattr(pair[1], "ndim", 0) != 1)[0])
    elif getattr(returned, "shape", ())[:1] == (1,):
        example = "0"
    elif getattr(returned, "ndim", 0) == 3:
        example = "lambda maps: maps.mean((0, 1))"
    return f"Take one by fame_jax.Picked(network, {example})."


def _shown(value: Any) -> str:
    """Shapes and types in words, short."""
    if isinstance(value, jax.ShapeDtypeStruct):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, dict):
        text = "a dictionary {" + ", ".join(f"{key!r}: {_shown(item)}" for key, item in value.items()) + "}"
    elif isinstance(value, tuple | list):
        text = f"a {type(value).__name__} ({', '.join(map(_shown, value))})"
    else:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 300 else f"{text[:297]}..."


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
