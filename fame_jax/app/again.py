"""The command and the lines of Python that make the same map again."""

import shlex
from collections.abc import Sequence
from typing import Any

from fame_jax.app.asked import Asked
from fame_jax.app.desk import Desk
from fame_jax.data.images import SAMPLES, Held
from fame_jax.detection.candidates import THRESHOLD
from fame_jax.explainers.table import explainer


def again(asked: Asked, desk: Desk, held: Sequence[Held]) -> dict[str, str]:
    """The command, empty where there is none, and the Python lines.

    Args:
        asked: the question; of a class, with its target.
        desk: that answered it.
        held: the photographs, whose names stand for their paths.
    """
    options = desk.options(explainer(asked.method, desk.task), asked)
    return {"command": _command(asked, desk, held, options), "python": "\n".join(_python(asked, desk, held, options))}


def _command(asked: Asked, desk: Desk, held: Sequence[Held], options: dict[str, Any]) -> str:
    if any(one.covered for one in asked.sides):
        return ""  # No command draws rectangles.
    paths = [] if asked.about == "class" and held[0].name == SAMPLES["cat"] else [one.name for one in held]
    words = ["fame", {"pair": "verify", "location": "locations"}.get(asked.about, "explain"), *paths]
    words += ["--model", desk.again.source, *desk.again.words, "--method", asked.method]
    if asked.about == "class":
        words += ["--class", str(asked.target)]
    elif asked.about == "location" and isinstance(asked.target, tuple):
        words += ["--rows", str(asked.target[0])]
    elif asked.about == "detection" and isinstance(asked.target, int):
        words += ["--detection", str(asked.target + 1), "--resize", str(desk.card.size)]
    if asked.about == "pair" and any(one.face for one in asked.sides):
        words += ["--face", *(str(one.face or 1) for one in asked.sides)]
    if desk.precision != "float32":
        words += ["--precision", desk.precision]
    for name in ("iterations", "sigma"):
        words += [f"--{name}", f"{options[name]:g}"] if name in options else []
    return shlex.join(words)


def _path(name: str) -> str:
    """In Python; packaged photographs are found by their own names."""
    sample = next((sample for sample, file in SAMPLES.items() if file == name), None)
    return repr(name) if sample is None else f"fame_jax.data.images.sample_path({sample!r})"


def _python(asked: Asked, desk: Desk, held: Sequence[Held], options: dict[str, Any]) -> list[str]:
    card, paths = desk.card, [_path(one.name) for one in held]
    told = desk.again.arguments + ("" if desk.precision == "float32" else f", precision={desk.precision!r}")
    given = "".join(f", {name}={value!r}" for name, value in options.items())
    dtype = ', dtype="float64"' if desk.precision == "float64" else ""
    opened = [
        "import fame_jax",
        "from fame_jax.data.images import load",
        "",
        f"card, network = fame_jax.models.find({desk.again.source!r}{told})",
    ]
    if dtype:
        opened = ["import jax", *opened[:2], 'jax.config.update("jax_enable_x64", True)', *opened[2:]]
    if asked.about == "class":
        many = f"network, [image], {asked.method!r}, [{asked.target}]{dtype}{given}"
        return [
            *opened,
            f"image = load({paths[0]}, card.resize, card.size)",
            f"(result,) = fame_jax.explain_many({many})",
            "print(result.attribution.shape, fame_jax.Status(int(result.status)).message)",
        ]
    engine = [
        "from fame_jax.engine import Engine",
        "from fame_jax.questions import Question",
        "",
        f'engine = Engine(network, "{desk.task}"{dtype})',
        f"method = engine.method({asked.method!r}, {options!r})",
    ]
    place = opened.index("from fame_jax.data.images import load")
    if asked.about == "location":
        image = [f"image = load({paths[0]}, {card.resize}, {card.size})", ""]
        question = f"Question((image,), {asked.target})"
    elif asked.about == "pair":
        opened[place : place + 1] = [
            "from fame_jax.data.faces import load_face",
            "from fame_jax.inputs import crop_as_input",
        ]
        image = []
        for name, path, side in zip(("probe", "gallery"), paths, asked.sides, strict=True):
            image.append(f"{name} = crop_as_input(load_face({path}{f', {side.face}' if side.face else ''}))")
            image += [f"{name}.image[{top}:{bottom}, {left}:{right}] = 0" for left, top, right, bottom in side.covered]
        question = "Question((probe.image, gallery.image), None, (probe.filled, gallery.filled))"
    else:
        opened[place] = "from fame_jax.data.images import load_whole"
        image = [
            f"image = load_whole({paths[0]}, {card.size})",
            "detector = fame_jax.detection.of_network(network, card, *image.shape[:2])",
            f"found = fame_jax.detection.detections(detector, image, threshold={THRESHOLD})",
            "network = fame_jax.detection.detected(detector, found)",
        ]
        question = f"Question((image,), {asked.target})"
    return [*opened, *image, *engine, f"(results,) = method.results(engine.look([{question}]))"]
