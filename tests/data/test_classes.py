import pytest

from fame_jax.data import ClassError, class_names, resolve_class

NAMES = class_names()


def test_class_names_are_torchvisions(torchvision):
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    assert torchvision is not None
    assert list(NAMES) == list(_IMAGENET_CATEGORIES)


def test_there_are_a_thousand_class_names_in_imagenet_order():
    assert len(NAMES) == 1000
    assert (NAMES[0], NAMES[285], NAMES[999]) == ("tench", "Egyptian cat", "toilet tissue")


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("285", 285),
        (" 285 ", 285),
        ("0", 0),
        ("999", 999),
        ("Egyptian cat", 285),
        ("egyptian CAT", 285),
        ("egyptian_cat", 285),
        ("egyptian", 285),
        ("egypt", 285),  # Part of a word.
        ("ox", 345),  # A whole name, although it is a part of many others.
        ("crane", 517),  # Likewise: there is a crane bird.
        ("crane bird", 134),
        ("sulphur crested", 89),  # A hyphen is a space.
        ("great white", 2),
    ],
)
def test_text_means_the_class(text, index):
    assert resolve_class(text, NAMES) == index


def test_every_whole_name_means_its_own_class():
    indices = [
        *range(0, 1000, 10),
        *(NAMES.index(name) for name in ("cardigan", "maillot", "jack-o'-lantern", "crane")),
    ]
    assert [resolve_class(NAMES[index], NAMES) for index in indices] == indices


def test_an_ambiguous_part_lists_the_candidates_with_their_indices():
    with pytest.raises(ClassError, match=r"'bear' fits \d+ classes: brown bear \(294\), American black bear \(295\)"):
        resolve_class("bear", NAMES)
    with pytest.raises(ClassError, match=r"'CARDIGAN' fits 2 classes: Cardigan \(264\), cardigan \(474\)"):
        resolve_class("CARDIGAN", NAMES)


def test_a_long_list_of_candidates_is_cut():
    with pytest.raises(ClassError, match=r"and \d+ more$") as error:
        resolve_class("a", NAMES)
    assert len(str(error.value)) < 300


def test_whole_words_go_before_parts_of_words():
    # "cat" is part of catamaran, but only these have it as a word.
    with pytest.raises(ClassError, match=r"tiger cat \(282\).*Egyptian cat \(285\)") as error:
        resolve_class("cat", NAMES)
    assert "catamaran" not in str(error.value)


def test_a_name_borne_by_two_classes_is_ambiguous():
    with pytest.raises(ClassError, match=r"'crane' fits 2 classes: crane \(1\), crane \(3\)"):
        resolve_class("crane", ["ox", "crane", "heron", "crane", "crane bird"])


def test_a_misspelt_name_gets_the_nearest_names():
    with pytest.raises(ClassError, match=r"no class is called 'egiptian cat': .*Egyptian cat \(285\)"):
        resolve_class("egiptian cat", NAMES)


def test_a_name_near_none_says_so():
    with pytest.raises(
        ClassError, match=r"no class is called 'xyzzyq': none is near; the classes are tench \(0\), .* and 992 more"
    ):
        resolve_class("xyzzyq", NAMES)


@pytest.mark.parametrize("text", ["1000", "-1", "99999999999999999999"])
def test_an_index_out_of_range_gets_the_range(text):
    with pytest.raises(ClassError, match=rf"class {text} does not exist: the classes are 0 to 999"):
        resolve_class(text, NAMES)


@pytest.mark.parametrize("text", ["", "  ", "--", "_"])
def test_an_empty_class_is_refused(text):
    with pytest.raises(ClassError, match="empty"):
        resolve_class(text, NAMES)
