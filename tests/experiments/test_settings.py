"""What a manifest tells apart, and whose classes a data set's are."""

import pathlib
from dataclasses import replace

import pytest

from fame_jax.data.records import ClassRecord, Dataset, Picture
from fame_jax.experiments.rows import ScoreError
from fame_jax.experiments.run import run
from fame_jax.experiments.score import same_network
from fame_jax.experiments.settings import in_classes_of
from fame_jax.experiments.store import RunError
from fame_jax.models import Loaded
from tests.experiments import tiny

CONVERTED = replace(tiny.card(), sha256="5" * 64, architecture="resnet18")
OTHERS = {
    "mean": replace(CONVERTED, mean=(0.5, 0.5, 0.5)),
    "std": replace(CONVERTED, std=(0.5, 0.5, 0.5)),
    "reverse_channels": replace(CONVERTED, reverse_channels=True),
    "key": replace(CONVERTED, key="model_ema"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_two_networks_made_of_one_file_are_not_mixed(folder, tmp_path, what):
    def explained(card):
        return run(Loaded(card, tiny.network()), tiny.dataset(folder), "fame", tmp_path / "run", tiny.settings())

    first = explained(CONVERTED)
    assert explained(CONVERTED).column("steps").tolist() == first.column("steps").tolist()
    same_network(first, Loaded(CONVERTED, tiny.network()))
    with pytest.raises(RunError, match=rf"never mixed: {what} "):
        explained(OTHERS[what])
    with pytest.raises(ScoreError, match=f"explained tiny with {what} .*give the network of the run"):
        same_network(first, Loaded(OTHERS[what], tiny.network()))


def in_classes(known, names):
    """Labels of a record of each name, and what is said of the others."""
    records = tuple(ClassRecord(name, Picture(pathlib.Path("none")), place) for place, name in enumerate(names))
    dataset = Dataset("named", "class", records, labels=tuple(names))
    found = in_classes_of(replace(tiny.card(), labels=tuple(known)), dataset)
    return {one.name: one.label for one in found.records}, {one.where: one.reason for one in found.problems}


def test_a_name_is_found_as_it_is_written_before_another_case_is_tried():
    labels, problems = in_classes(
        ["Cardigan", "tabby", "cardigan", "sea lion"], ["cardigan", "Cardigan", "TABBY", "sea_lion"]
    )
    assert labels == {"cardigan": 2, "Cardigan": 0, "TABBY": 1, "sea_lion": 3}
    assert not problems


@pytest.mark.parametrize(
    ("known", "name"), [(["crane", "tabby", "crane"], "crane"), (["Cardigan", "cardigan"], "CARDIGAN")]
)
def test_a_name_of_several_classes_is_told_and_not_guessed(known, name):
    labels, problems = in_classes(known, [name])
    assert labels == {}
    assert problems == {f"class {name}": "1 records: tiny has 2 classes of that name"}
