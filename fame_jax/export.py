"""A method for a fixed network as one serialised program, which JAX alone runs."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.export
import jax.numpy as jnp

from fame_jax.architectures.probes import probed
from fame_jax.engine import Method
from fame_jax.explainers.explainer import MAPS, MethodError

PLATFORMS = ("cpu", "cuda", "tpu")


def exported(method: Method, size: int, *, platforms: Sequence[str] = PLATFORMS) -> bytes:
    """A method and its network, parameters included, as an artefact of `jax.export`.

    Args:
        method: of an engine, `Engine(network, task).method(name, options)`.
        size: height and width of the images, pixels.
        platforms: that it runs on.

    Returns:
        What `jax.export.deserialize(artefact).call` makes a function of `(image, label)`, or of `(image, location)` or
        `(probe, gallery)`, by the engine's task: images `[size, size, 3]` in [0, 1] of the engine's dtype, label and
        location `int32`. It returns a dictionary of maps `[size, size]` by the names of `MAPS`. JAX promises to run it
        for six months of releases.

    Raises:
        MethodError: for a method that draws random numbers, or an engine of detections.

    Example:
        >>> artefact = exported(Engine(network, "class").method("fame"), 224)
        >>> maps = jax.export.deserialize(bytearray(artefact)).call(image, np.int32(281))
    """
    row, engine = method.row, method.engine
    if engine.task == "detect":
        raise MethodError("a program of detections cannot be exported; expected an engine of another task.")
    if "key" in row.needs:
        raise MethodError(f"{row.name} draws random numbers, and an exported program has none; choose another method.")
    network = probed(engine.network) if "probes" in row.needs else engine.network

    def explain(*inputs: Any) -> dict[str, Any]:
        images, target = (inputs, None) if engine.task == "pair" else (inputs[:1], inputs[1])
        results = row.results(engine.task, network, images, target, **method.options)
        found = zip(MAPS[engine.task], results, strict=True)
        return {name: result.attribution for name, result in found if result is not None}

    image = jax.ShapeDtypeStruct((size, size, 3), engine.dtype)
    second = image if engine.task == "pair" else jax.ShapeDtypeStruct((2,) * (engine.task == "location"), jnp.int32)
    return bytes(jax.export.export(jax.jit(explain), platforms=platforms)(image, second).serialize())
