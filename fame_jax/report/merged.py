"""One item a photograph or pair, with the methods of all sources side by side; and what the page's script sorts by."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from fame_jax.report.content import Column, Item, Kind, Source
from fame_jax.report.words import method_title


def merged(sources: Sequence[Source]) -> tuple[Item, ...]:
    """Items of one key become one, in the order in which they are met; columns get titles that tell them apart."""
    together: dict[tuple[str, ...], Item] = {}
    titles = {kind: _titles(sources, kind) for kind in ("class", "pair")}
    for number, source in enumerate(sources):
        for item in _told_apart(source, sources):
            columns = tuple(dataclasses.replace(c, title=titles[item.kind][number, c.method]) for c in item.columns)
            found = together.get(item.key)
            together[item.key] = (
                dataclasses.replace(item, columns=columns) if found is None else _joined(found, item, columns)
            )
    return tuple(together.values())


def _joined(found: Item, item: Item, columns: tuple[Column, ...]) -> Item:
    if found.pictures and item.pictures != found.pictures:
        columns = tuple(dataclasses.replace(column, pictures=item.pictures) for column in columns)
    return dataclasses.replace(
        found,
        columns=found.columns + columns,
        pictures=found.pictures or item.pictures,
        facts=tuple(dict.fromkeys(found.facts + item.facts)),
        verdicts=tuple(dict.fromkeys(found.verdicts + item.verdicts)),
    )


def _told_apart(source: Source, sources: Sequence[Source]) -> Iterator[Item]:
    """The items of a source, with the folder at the name of a network whose weights are others elsewhere."""
    mine = source.manifest
    others = {s.manifest.get("weights_sha256") for s in sources if s.manifest.get("network") == mine.get("network")}
    for item in source.items:
        verdicts = tuple((f"{name}, {source.folder}", said) for name, said in item.verdicts)
        yield dataclasses.replace(item, verdicts=verdicts) if len(others) > 1 else item


def measures(item: Item) -> dict[str, float]:
    """What an item can be sorted by, by the words that the page shows."""
    told = [(name, said.similarity) for name, said in item.verdicts if said.similarity is not None]
    alone = len({name for name, _ in told}) == 1
    found = {"similarity" if alone else f"similarity, {name}": value for name, value in told}
    for column in item.columns:
        for layer in column.layers.values():
            if layer.first_loss is not None and layer.last_loss is not None:
                found.setdefault(f"change of the loss, {column.title}", layer.last_loss - layer.first_loss)
        if column.sanity is not None:
            found[f"correlation with random weights, {column.title}"] = column.sanity
        found |= {f"{name}, {column.title}": value for name, value in column.scores.items() if value == value}
    return found


def record(item: Item) -> dict[str, Any]:
    """What the page's script knows of an item."""
    layers = [layer for column in item.columns for layer in column.layers.values() if layer.picture is not None]
    return {
        "name": " ".join([item.name, *(column.target for column in item.columns)]).lower(),
        "classes": sorted({column.target for column in item.columns if column.target}),
        "statuses": sorted({layer.status for layer in layers} | {layer.remark_kind for layer in layers} - {""}),
        "measures": measures(item),
    }


def counts(items: Sequence[Item]) -> dict[str, dict[str, int]]:
    """Number of maps by column and status; a remark is counted beside the status it comes with."""
    found: dict[str, Counter[str]] = {}
    for item in items:
        for column in item.columns:
            found.setdefault(column.title, Counter()).update(_said(column))
    return {title: dict(of) for title, of in found.items()}


def _said(column: Column) -> Iterator[str]:
    for layer in column.layers.values():
        if layer.picture is not None:
            yield layer.status
            if layer.remark_kind and layer.remark_kind not in layer.status:
                yield layer.remark_kind


def _titles(sources: Sequence[Source], kind: Kind) -> dict[tuple[int, str], str]:
    """Column titles by source and method: the method's; with the network, then the folder, where that is not enough."""
    columns = [
        (number, method)
        for number, source in enumerate(sources)
        for method in dict.fromkeys(c.method for item in source.items if item.kind == kind for c in item.columns)
    ]
    titles: dict[tuple[int, str], str] = {}
    for parts in (1, 2, 3):
        titles = {(n, method): ", ".join(_parts(sources[n], method)[:parts]) for n, method in columns}
        if len({(sources[n].folder, title) for (n, _), title in titles.items()}) == len(set(titles.values())):
            break
    return titles


def _parts(source: Source, method: str) -> tuple[str, str, str]:
    return method_title(method), str(source.manifest.get("network", "unknown network")), str(source.folder)
