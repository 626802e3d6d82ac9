"""A card is kept as JSON and comes back the same; a bad field is refused by its name."""

import json

import pytest

from fame_jax import models
from fame_jax.models import Card, CardError
from fame_jax.models.anchors import Anchors


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
        ({"grid": [14, 14]}, "grid is .* null without a layer"),
        ({"grid": [14], "layer": "a"}, "grid is .* rows and columns"),
        ({"class_tokens": 1}, "class_tokens is 1; expected 0, or more with a grid"),
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


RULE = {"strides": [8, 16], "sizes": [[8], [16]], "ratios": [[1]]}


@pytest.mark.parametrize(
    ("anchors", "words"),
    [
        (3, "anchors are 3; expected an object or a list of boxes"),
        ({}, "anchors have nothing; expected sizes, strides, ratios; or scales, strides, ratios, steps; or boxes; or"),
        (RULE | {"tensor": "a"}, "anchors have ratios, sizes, strides, tensor; expected"),
        (RULE | {"steps": [8, 16]}, "anchors have ratios, sizes, steps, strides; expected"),
        (RULE | {"stride": [8]}, "no field 'anchors.stride'"),
        (RULE | {"strides": [8, 0]}, "anchors.strides is .* whole pixels above 0"),
        (RULE | {"strides": [8]}, "anchors.sizes has 2 entries; 1 strides expect 1"),
        (RULE | {"sizes": [[8], []]}, "anchors.sizes is .* a list for each level"),
        (RULE | {"ratios": [[1], [1], [1]]}, "anchors.ratios has 3 entries; 2 strides expect 2 or 1"),
        (RULE | {"ratios": []}, "anchors.ratios has 0 entries"),
        (RULE | {"weights": [1, 1]}, "anchors.weights is .* four numbers above 0"),
        (RULE | {"strides": [1, 1], "sizes": [[1] * 50] * 2}, "at most 4194304 boxes"),
        ({"strides": [8], "scales": [0.1], "ratios": [[]]}, "anchors.scales has 1 entries; 1 strides expect 2"),
        ([[0, 0, 4, 4], [4, 0, 0, 4]], "anchors.boxes is .* left < right"),
    ],
)
def test_anchors_that_are_none_are_refused_by_their_field(anchors, words):
    content = Card("mine", "detect", 224, 224, decoding="retinanet").to_json()
    with pytest.raises(CardError, match=words):
        Card.from_json(content | {"anchors": anchors})


def test_anchors_come_back_from_json_and_are_torchvisions_where_none_are_told():
    for told in (RULE, [[0, 0, 4, 4.5]], {"tensor": "a", "weights": [10, 10, 5, 5]}):
        card = Card("mine", "detect", 300, 300, decoding="ssd", anchors=Anchors.from_json(told))
        assert Card.from_json(json.loads(json.dumps(card.to_json()))) == card
        assert hash(card) == hash(Card.from_json(card.to_json()))
    assert Card("mine", "detect", 300, 300, decoding="ssd").anchors.count(300) == 8732
    assert Card("mine", "detect", 300, 300, decoding="detr").anchors is None


def test_a_card_is_an_object():
    with pytest.raises(CardError, match="found list"):
        Card.from_json([])
