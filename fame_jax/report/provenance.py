"""Where the numbers of a source come from: network, weights and their licence, options, versions, inputs, command."""

import importlib.resources
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fame_jax.models.registry import REGISTRY
from fame_jax.report.content import Source

_RULE = "=" * 80
_SHOWN_ELSEWHERE = {"command", "methods", "method", "network", "weights_sha256", "options", "versions", "device"}


@dataclass(frozen=True)
class Provenance:
    """Of one source.

    Attributes:
        title: of the source.
        folder: where it lies, and the manifest in it.
        rows: terms and values, in the order of reading.
        inputs: names and SHA-256 of the pictures.
        notice: the bundled weights' own notice; empty for others.
        again: the command that makes it again; empty where the manifest does not tell.
    """

    title: str
    folder: str
    rows: tuple[tuple[str, str], ...]
    inputs: tuple[tuple[str, str], ...]
    notice: str
    again: str


def provenance(source: Source) -> Provenance:
    """What the manifest of a source tells."""
    manifest = source.manifest
    return Provenance(
        title=source.title,
        folder=str(source.folder / source.file),
        rows=tuple(_rows(manifest)),
        inputs=tuple(dict.fromkeys(source.inputs or _inputs(manifest))),
        notice=_notice(manifest),
        again=_again(manifest),
    )


def _rows(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    network = str(manifest.get("network", "not known"))
    yield "network", network
    yield "weights, SHA-256", str(manifest.get("weights_sha256") or "not known")
    yield from _published(network, str(manifest.get("weights_sha256") or ""))
    methods = manifest.get("methods") or [manifest.get("method", "not known")]
    yield "methods", ", ".join(map(str, methods))
    for name, value in _mapping(manifest, "options").items():
        yield f"option, {name}", "not set" if value is None else str(value)
    for name, value in manifest.items():
        if name not in _SHOWN_ELSEWHERE and isinstance(value, str | int | float):
            yield name.replace("_", " "), str(value)
    # A run that was continued elsewhere has several.
    for number, found in enumerate(manifest.get("provenance") or [manifest]):
        for term in ("versions", "device"):
            for name, value in _mapping(found, term).items():
                yield f"{term.removesuffix('s')}{f' {number + 1}' if number else ''}, {name}", str(value)


def _published(network: str, digest: str) -> Iterator[tuple[str, str]]:
    """Source and licence of the weights, if they are those that are published under the network's name."""
    if network not in REGISTRY:
        return
    published = REGISTRY[network]
    if not published.file:
        yield "weights, source", "not published"
    elif published.sha256 and not digest.startswith(published.sha256):
        yield "weights, source", f"not the published {published.file}"
    else:
        known = "" if published.sha256 else "; by its name, since the publisher tells no hash"
        yield "weights, source", f"{published.file}, {published.card.source}{known}"
        yield "weights, licence", published.card.licence


def _inputs(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    inputs = manifest.get("inputs")
    for entry in inputs if isinstance(inputs, list) else ():
        if isinstance(entry, Mapping):
            path, digest = entry.get("path") or "packaged portrait", entry.get("sha256")
            yield str(path), str(digest or entry.get("note") or entry.get("error") or "not kept")


def _again(manifest: Mapping[str, Any]) -> str:
    """The command line, from what the manifest keeps of it."""
    command, given = manifest.get("command"), _mapping(manifest, "options")
    if isinstance(command, list):
        return shlex.join(map(str, command))
    if not isinstance(command, str):
        return ""
    if command.startswith("fame "):
        return command
    if "card" in manifest and "network_flags" not in manifest:
        return ""  # What was told of an ONNX file was not kept as flags once.
    paths = [entry["path"] for entry in manifest.get("inputs", ()) if entry.get("path")]
    if command != "verify":  # By several methods, a photograph is there as many times; a pair may be one twice.
        paths = dict.fromkeys(paths)
    words = ["fame", command, *paths, "--model", manifest.get("source") or manifest["network"]]
    words += manifest.get("network_flags", ())
    if command != "locations":
        words += ["--method", ",".join(manifest["methods"])]
    for name, value in given.items():
        words += _option(name, value)
    return shlex.join(map(str, words))


def _option(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if value is None or value is False:
        return []
    if value is True:
        return [flag]
    if name == "option":
        return [f"{flag}={one}" for one in value]
    return [flag, *map(str, value)] if isinstance(value, list) else [f"{flag}={value}"]


def _notice(manifest: Mapping[str, Any]) -> str:
    """The part of the NOTICE of bundled weights that is about this network, if these are its weights."""
    network = str(manifest.get("network"))
    text = importlib.resources.files("fame_jax").joinpath("bundled", "NOTICE").read_text("utf-8")
    parts = text.split(f"{_RULE}\n")
    for title, body in zip(parts[1::2], parts[2::2], strict=False):
        if title.strip() == f"{network}/" and str(manifest.get("weights_sha256") or "-") in body:
            return body.strip()
    return ""


def _mapping(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = manifest.get(name)
    return found if isinstance(found, Mapping) else {}
