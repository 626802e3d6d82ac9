"""The parts of the page's session that need no network: the line, the memory, who is let in, what can be meant."""

import contextlib
import threading

import pytest

from fame_jax.app import guard
from fame_jax.app.asked import AskedError, asked
from fame_jax.app.line import Line
from fame_jax.app.memory import Forgotten, Photographs, Recent


def test_who_is_first_works_and_the_others_are_told_how_many_are_before_them():
    line, places = Line(), []
    assert list(line.wait("first")) == []
    second, third = line.wait("second"), line.wait("third")
    assert next(second) == 1
    assert next(third) == 2
    line.leave("first")
    assert list(second) == []
    line.leave("second")
    places += list(third)
    assert places in ([], [1])
    line.leave("third")
    assert len(line) == 0


def test_one_who_leaves_from_the_middle_of_the_line_lets_the_others_up():
    line = Line()
    list(line.wait("first"))
    second, third = line.wait("second"), line.wait("third")
    assert (next(second), next(third)) == (1, 2)
    line.leave("second")
    assert next(third) == 1


def test_never_two_at_once():
    line, inside, most = Line(), [], []

    def work(me):
        for _ in line.wait(me):
            pass
        inside.append(me)
        most.append(len(inside))
        inside.remove(me)
        line.leave(me)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == [1] * 20


def test_memory_keeps_what_was_asked_for_last_and_no_more_than_its_weight():
    kept = Recent[str](10)
    for name in "abc":
        kept.put(name, name.upper(), 4)
    assert [kept.find(name) for name in "abc"] == [None, "B", "C"]
    kept.find("b")
    kept.put("d", "D", 4)
    assert [kept.find(name) for name in "bcd"] == ["B", None, "D"]


def test_a_photograph_that_was_never_there_is_forgotten():
    with pytest.raises(Forgotten, match="abc"):
        Photographs().find("abc")


HERE = {"Host": "127.0.0.1:8000"}


@pytest.mark.parametrize(
    ("headers", "page", "let_in"),
    [
        (HERE, False, True),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8000"}, False, True),
        ({"Host": "[::1]:8000"}, False, True),
        (HERE | {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}, False, True),
        # A site whose name leads to this machine, DNS rebinding.
        ({"Host": "evil.example:8000"}, False, False),
        ({"Host": "127.0.0.1.evil.example:8000"}, False, False),
        ({}, False, False),
        ({"Host": "[:::"}, False, False),
        (HERE | {"Origin": "http://evil.example"}, False, False),
        (HERE | {"Origin": "null"}, False, False),
        (HERE | {"Origin": "http://127.0.0.1:9000"}, False, False),
        (HERE | {"Sec-Fetch-Site": "cross-site"}, False, False),
        (HERE | {"Sec-Fetch-Site": "same-site"}, False, False),
        # A link, or the frame of a notebook: it needs the token all the same.
        (HERE | {"Sec-Fetch-Site": "cross-site"}, True, True),
    ],
)
def test_no_request_of_another_site_is_obeyed(headers, page, let_in):
    assert (guard.refusal(headers, page=page) == "") is let_in


def test_the_token_is_known_or_not():
    assert guard.knows("secret", "secret")
    for wrong in ("", None, "Secret", "secret ", "\udcff"):
        assert not guard.knows("secret", wrong)


GOOD = {"about": "class", "sides": [{"photograph": "x"}], "target": 3}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"about": "everything"}, "about"),
        ({"sides": []}, "sides"),
        ({"sides": [{"photograph": 3}]}, "photograph"),
        ({"sides": [{"photograph": "x", "face": 0}]}, "face"),
        ({"sides": [{"photograph": "x", "covered": [[5, 5, 5, 9]]}]}, "covered"),
        ({"sides": [{"photograph": "x", "covered": "all"}]}, "covered"),
        ({"target": -1}, "target"),
        ({"target": True}, "target"),
        ({"target": 1.5}, "target"),
        ({"about": "location", "target": [1]}, "target"),
        ({"about": "pair"}, "sides"),
        ({"iterations": 0}, "iterations"),
        ({"iterations": 10**9}, "iterations"),
        ({"sigma": 0}, "sigma"),
        ({"sigma": float("nan")}, "sigma"),
        ({"method": None}, "method"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_name(changes, said):
    with pytest.raises(AskedError, match=said):
        asked(GOOD | changes)
    with contextlib.suppress(AskedError):
        asked(None)
    assert asked(GOOD).target == 3
