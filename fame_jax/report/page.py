"""The page: templates, style and script put together into one file that needs nothing else."""

import base64
import datetime
import hashlib
import importlib.resources
from collections.abc import Sequence
from typing import Any

import jinja2
import numpy as np

from fame_jax import plots
from fame_jax.files import environment
from fame_jax.report import words
from fame_jax.report.content import Item, Source
from fame_jax.report.encoded import LEVELS, data_uri
from fame_jax.report.merged import counts, measures, merged, record
from fame_jax.report.provenance import provenance
from fame_jax.report.scores import side_by_side

COLOURS = ("inferno", "jet")
"""Colour maps of the page, the default first."""


def page(sources: Sequence[Source], *, title: str, command: str = "") -> str:
    """The whole report as HTML.

    Args:
        sources: what to show.
        title: of the page.
        command: that makes this report again.
    """
    items = merged(sources)
    templates = _templates()
    style, script = _text("theme.css") + _text("report.css"), _text("report.js")
    return templates.get_template("page.html.j2").render(
        title=title,
        command=command,
        made=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=environment()["versions"].get("fame-jax", "from its source"),
        style=style,
        script=script,
        policy=_policy(style, script),
        palettes={name: _table_values(name) for name in COLOURS},
        levels=LEVELS,
        sources=sources,
        photographs=[item for item in items if item.kind == "class"],
        pairs=[item for item in items if item.kind == "pair"],
        records=[record(item) for item in items],
        choices=_choices(items),
        counts=counts(items),
        scores=side_by_side(sources),
        provenances=[provenance(source) for source in sources],
    )


def _templates() -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("fame_jax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["uri"] = data_uri
    templates.filters["number"] = words.number
    templates.globals |= {"loss_change": words.loss_change, "alternative": words.alternative}
    return templates


def _choices(items: Sequence[Item]) -> dict[str, list[str]]:
    """What the filters offer."""
    records = [record(item) for item in items]
    return {
        "classes": sorted({name for of in records for name in of["classes"]}),
        "statuses": sorted({name for of in records for name in of["statuses"]}),
        "measures": list(dict.fromkeys(name for item in items for name in measures(item))),
    }


def _text(name: str) -> str:
    return importlib.resources.files("fame_jax.report").joinpath(name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """Nothing is fetched, and nothing runs but this style and this script."""
    hashes: Any = {name: _hash(text) for name, text in (("style", style), ("script", script))}
    return (
        f"default-src 'none'; img-src data:; style-src '{hashes['style']}'; script-src '{hashes['script']}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _table_values(name: str) -> dict[str, str]:
    """A colour map as the three tables of an SVG filter."""
    black, ramp = np.zeros((1, 256, 3)), np.linspace(0, 1, 256)[None]
    colours = plots.overlay(black, ramp, colours=name, opacity=1.0)[0]
    return {c: " ".join(f"{value:.3g}" for value in colours[:, i]) for i, c in enumerate("RGB")}
