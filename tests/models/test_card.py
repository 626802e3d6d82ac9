"""A card is kept as JSON and comes back the same; a bad field is refused by its name."""

import json

import pytest

from fame_jax import models
from fame_jax.models import Card, CardError


def test_every_published_card_comes_back_from_json():
    for published in models.REGISTRY.values():
        assert Card.from_json(json.loads(json.dumps(published.card.to_json()))) == published.card


def test_classifiers_have_imagenets_names_and_faces_none():
    assert models.card("resnet50").labels[285] == "Egyptian cat"
    assert len(models.card("vgg19").labels) == 1000
    assert models.card("sface").labels is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task": "depth"}, "task is 'depth'; expected one of class, face, detect"),
        ({"score": "probit"}, "score is 'probit'"),
        ({"size": 0}, "size is 0"),
        ({"size": "224"}, "size is '224'; expected a whole number"),
        ({"size": True}, "size is True"),
        ({"resize": 223}, "resize is 223"),
        ({"task": "face"}, "resize is 256; expected .* for faces the size itself"),
        ({"mean": [0.5]}, "mean is .* expected as many numbers as std"),
        ({"mean": [0.5, float("nan"), 0.5]}, "mean is .* finite"),
        ({"std": [0.2, 0.0, 0.2]}, "std is .* above 0"),
        ({"reverse_channels": 1}, "reverse_channels is 1; expected true or false"),
        ({"labels": ["a", 3]}, "labels is .* list of names"),
        ({"labels": []}, "labels is "),
        ({"parameters": -1}, "parameters is -1"),
        ({"licence": None}, "licence is None; expected text"),
        ({"colour": "RGB"}, "no field 'colour'"),
    ],
)
def test_a_bad_field_is_refused_by_its_name(change, words):
    content = Card("mine", "class", 224, 256).to_json()
    with pytest.raises(CardError, match=words):
        Card.from_json(content | change)


@pytest.mark.parametrize("name", ["name", "task", "size", "resize"])
def test_a_missing_field_is_refused_by_its_name(name):
    content = Card("mine", "class", 224, 256).to_json()
    del content[name]
    with pytest.raises(CardError, match=f"no '{name}'"):
        Card.from_json(content)


def test_a_card_is_an_object():
    with pytest.raises(CardError, match="found list"):
        Card.from_json([])
