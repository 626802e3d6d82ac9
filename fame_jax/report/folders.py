"""Reads what `fame explain`, `fame verify` and `fame locations` have written."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fame_jax.explainers.explainer import MAPS
from fame_jax.files import read_json
from fame_jax.report.content import Column, Failure, Item, ReportError, Sheet, Source, Verdict
from fame_jax.report.encoded import encoded_image, encoded_map, outlined
from fame_jax.report.words import layer, method_title, number
from fame_jax.walk import Status


def sources(folder: pathlib.Path) -> list[Source]:
    """All manifests of a folder, the newest last; of results that were written again only the newest are shown.

    Raises:
        ReportError: for a folder without a manifest, or with a damaged one.
    """
    shown: set[str] = set()
    found = [_source(file, shown) for file in (*sorted(folder.glob("*.locations.json")), *_newest_first(folder))]
    if not found:
        raise ReportError(
            f"{folder}: there is no manifest.json; expected a folder of fame run, explain, verify or locations."
        )
    return [source for source in reversed(found) if source.items or source.sheets or source.failures]


def _newest_first(folder: pathlib.Path) -> list[pathlib.Path]:
    kept = [file for file in folder.glob("manifest-*.json") if file.stem.rpartition("-")[2].isdigit()]
    kept.sort(key=lambda file: -int(file.stem.rpartition("-")[2]))
    newest = folder / "manifest.json"
    return [newest, *kept] if newest.is_file() else kept


def _source(file: pathlib.Path, shown: set[str]) -> Source:
    try:
        manifest = read_json(file)
        command = manifest["command"]
        if command not in _READERS:
            raise ReportError(f"{file}: written by {command!r}; expected one of {', '.join(_READERS)}.")
        for method in manifest.get("methods", ()):
            _text(method)
        return _READERS[command](file, manifest, shown)
    except (ReportError, OSError):
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ReportError(
            f"{file}: not the manifest of fame explain, verify or locations ({type(error).__name__}: {error})."
        ) from error


def _photographs(file: pathlib.Path, manifest: Mapping[str, Any], shown: set[str]) -> Source:
    folder, items, failures = file.parent, [], []
    for entry in manifest["inputs"]:
        if "error" in entry:
            failures.append(Failure(entry["path"], entry["error"]))
        elif entry["result"] not in shown:
            shown.add(entry["result"])
            try:
                items.append(_photograph(folder, entry, _text(manifest["network"])))
            except (OSError, ValueError) as error:
                failures.append(Failure(f"{entry['path']} ({entry['method']})", f"{error}"))
    return Source(
        folder=folder,
        file=file.name,
        title=f"fame explain, {manifest['network']}",
        manifest=manifest,
        items=tuple(items),
        failures=tuple(failures),
        total=len({entry["path"] for entry in manifest["inputs"]}),
    )


def _photograph(folder: pathlib.Path, entry: Mapping[str, Any], network: str) -> Item:
    arrays = _arrays(folder, entry["result"], "image", "attribution")
    attribution = arrays["attribution"]
    told = _layer("attribution", attribution, entry)
    sanity = _number((entry.get("randomised_network") or {}).get("spearman"))
    method, box = _text(entry["method"]), entry.get("box")
    kind = "logit" if "logit" in entry else "probability"
    verdict = Verdict(words=f"predicted {entry['predicted_name']}, {kind} {number(entry[kind])}")
    loss = _text(entry.get("loss", "logit" if box is None else "similarity"))
    target, layers = _text(entry["target_name"]), {"attribution": told}
    column = Column(method, method_title(method), target, layers, sanity=sanity, loss=loss)
    return Item(
        kind="class",
        name=pathlib.PurePath(entry["path"]).name,
        key=("class", _told(entry), *(() if box is None else map(str, box))),
        pictures={"photograph": encoded_image(outlined(arrays["image"], box))},
        columns=(column,),
        facts=() if box is None else (f"box {', '.join(map(number, box))}",),
        verdicts=((network, verdict),) if box is None else (),
    )


def _pair(file: pathlib.Path, manifest: Mapping[str, Any], shown: set[str]) -> Source:
    folder, method, result = file.parent, manifest["methods"][0], manifest["result"]
    items, failures = [], []
    paths = [entry["path"] or f"packaged portrait {entry['note']}".strip() for entry in manifest["inputs"]]
    names = [pathlib.PurePath(path).name for path in paths]
    if result not in shown:
        shown.add(result)
        try:
            found = _arrays(folder, result, "probe", "gallery")
        except OSError as error:
            failures.append(Failure(" and ".join(names), f"{error}"))
        else:
            layers = {role: _layer(role, found.get(role), manifest["maps"].get(role, {})) for role in MAPS["pair"]}
            threshold = _number(manifest.get("threshold"))
            known = "no threshold" if threshold is None else f"threshold {number(threshold)}"
            decided = f"{manifest['decision']}, {known} ({manifest['threshold_source']})"
            items.append(
                Item(
                    kind="pair",
                    name=" and ".join(names),
                    key=("pair", *map(_told, manifest["inputs"]), *_faces(manifest)),
                    pictures={face: encoded_image(found[face]) for face in ("probe", "gallery")},
                    columns=(Column(method, method_title(method), "", layers),),
                    verdicts=((_text(manifest["network"]), Verdict(_number(manifest["similarity"]), decided)),),
                )
            )
    return Source(
        folder=folder,
        file=file.name,
        title=f"fame verify, {manifest['network']}",
        manifest=manifest,
        items=tuple(items),
        failures=tuple(failures),
        total=1,
    )


def _told(entry: Mapping[str, Any]) -> str:
    """Which picture it is, in whatever folder: its hash, where one was kept."""
    return str(entry.get("sha256") or entry["path"] or entry.get("note"))


def _faces(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Which faces of the photographs are compared, where others than the largest were asked for."""
    return tuple(map(str, (manifest.get("options") or {}).get("face") or ()))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]!r} is no text")
    return value


def _number(value: Any) -> Any:
    if value is not None and type(value) not in (int, float):
        raise TypeError(f"{str(value)[:40]!r} is no number")
    return value


def _layer(role: str, attribution: np.ndarray | None, walk: Mapping[str, Any]):
    """A map and what the manifest tells of it."""
    return layer(
        role,
        None if attribution is None else encoded_map(attribution),
        attribution,
        _text(walk.get("status", Status.NO_MAP.message)),
        first_loss=_number(walk.get("first_loss")),
        last_loss=_number(walk.get("last_loss")),
        steps=_number(walk.get("steps", 0)),
    )


def _locations(file: pathlib.Path, manifest: Mapping[str, Any], shown: set[str]) -> Source:
    names = ("image", "attribution", "rows", "status")
    arrays = _arrays(file.parent, file.stem, *names)
    grid_rows, grid_columns = map(_number, manifest["feature_map"])
    image, maps, rows, statuses = (arrays[name] for name in names)
    layers = {
        (int(row), column): layer("attribution", encoded_map(attribution), attribution, str(statuses[i, column]))
        for i, row in enumerate(rows)
        for column, attribution in enumerate(maps[i])
    }
    name = pathlib.PurePath(manifest["inputs"][0]["path"]).name
    sheet = Sheet(
        name=name,
        picture=encoded_image(image),
        size=image.shape[:2],
        grid=(int(grid_rows), int(grid_columns)),
        maps=layers,
        lines=tuple(_locality(manifest["locality"])),
    )
    return Source(file.parent, file.name, f"fame locations, {manifest['network']}", manifest, sheets=(sheet,), total=1)


def _locality(found: Mapping[str, Mapping[str, float | None]]) -> Iterator[str]:
    for name, of in found.items():
        if of["outside"] is None:
            yield f"{name}: all maps are blank"
        else:
            yield (
                f"{name}: {of['outside']:.0%} of the mass outside the cell, centroid {number(of['shift'], 1)} pixels "
                f"from the cell's centre, half of the mass within {number(of['radius'], 1)} pixels"
            )


def _arrays(folder: pathlib.Path, result: str, *needed: str) -> dict[str, np.ndarray]:
    """The arrays of a result; whatever the manifest says, from this folder.

    Raises:
        OSError: naming the file, if it is not there, damaged, or lacks one of the arrays.
    """
    file = folder / f"{pathlib.PurePath(result).name}.npz"
    if file.exists() and not file.is_file():
        raise OSError(f"{file}: no regular file")
    try:
        with file.open("rb") as handle, np.load(handle) as arrays:
            found = dict(arrays)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{file}: there is no such file") from error
    except Exception as error:  # NumPy and zipfile raise nearly anything on damaged files.
        raise OSError(f"{file}: damaged or cut short ({error})") from error
    if missing := [name for name in needed if name not in found]:
        raise OSError(f"{file}: has no array {missing[0]!r}; it is not what the command writes.")
    # Pictures `[H, W, 3]` come first in `needed`; whatever else is of floating point is a map `[..., H, W]`.
    size = found[needed[0]].shape[:2]
    for name, array in found.items():
        shape = array.shape[:2] if array.shape[2:] == (3,) and name in _PICTURES else array.shape[-2:]
        if array.ndim > 1 and (shape != size or 0 in shape or array.dtype.kind != "f") and name not in _GRIDS:
            raise OSError(f"{file}: {name} is {array.dtype} {list(array.shape)}; it is not what the command writes.")
        if name in _PICTURES and array.ndim != 3:
            raise OSError(f"{file}: {name} is no picture.")
    return found


_PICTURES, _GRIDS = ("image", "probe", "gallery"), ("steps", "status")


_READERS = {"explain": _photographs, "verify": _pair, "locations": _locations}
