"""The names of a network's outputs from a file: one a line, or JSON as training tools write it."""

import os
import pathlib
from typing import Any

from fame_jax import files


class LabelsError(ValueError):
    """A file that is no list of labels."""


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Names of a network's outputs in their order.

    Args:
        path: text with a name a line, as it is; or, by the ending `.json`, a list of names, a map from index to name
            or from name to index, or a `config.json` with one under `id2label`, `label2id` or `label_names`.

    Raises:
        LabelsError: naming the file, if it is none of these, or an index is missing or given twice.
    """
    file = pathlib.Path(path)
    try:
        if file.suffix == ".json":
            labels = _of_json(files.read_json(file))
        else:
            labels = [line.strip() for line in files.read_text(file).splitlines()]
            while labels and not labels[-1]:
                labels.pop()
    except (OSError, ValueError) as error:
        raise LabelsError(f"{file}: {error}; expected names, one a line or as JSON.") from error
    empty = next((number for number, label in enumerate(labels) if not label), None)
    if not labels or empty is not None:
        what = "no names" if not labels else f"no name for output {empty}"
        raise LabelsError(f"{file}: {what}; expected one for every output.")
    return tuple(labels)


def _of_json(content: Any) -> list[str]:
    if isinstance(content, dict):
        for key in ("id2label", "label2id", "label_names"):
            if content.get(key):
                return _of_json(content[key])
        return _of_map(content)
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return content
    raise ValueError("neither a list of names nor a map of names and indices")


def _of_map(content: dict[str, Any]) -> list[str]:
    """From index to name, or from name to index."""
    by_name = bool(content) and all(type(value) is int for value in content.values())
    pairs = content.items() if by_name else [(name, index) for index, name in content.items()]
    names: dict[int, str] = {}
    for name, index in pairs:
        if not isinstance(name, str) or not str(index).isdecimal():
            raise ValueError(f"{index!r}: {name!r} is no index and name")
        if int(index) in names:
            raise ValueError(f"the index {index} has two names")
        names[int(index)] = name
    if missing := sorted(set(range(len(names))) - names.keys()):
        raise ValueError(f"no name for output {missing[0]}")
    return [names[index] for index in range(len(names))]
