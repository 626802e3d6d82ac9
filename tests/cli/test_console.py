"""What all commands share: bad options in one line."""

import time

import pytest

from fame_jax.cli.console import progress_bar, say_error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("explain", "--iterations", "many"), "--iterations"),
        (("explain", "--iteration", "3"), "--iterations"),
        (("explain", "--preset", "papre"), "paper"),
        (("convert",), "FILE"),
        (("run", "folder"), "--out"),
        (("explain", "--model"), "--model"),
    ],
)
def test_the_parser_says_what_it_refuses_and_where_there_is_help(fame, arguments, words):
    ended = fame(*arguments)
    assert ended.code == 2
    assert words in ended.err
    assert f"fame {arguments[0]} --help" in ended.err
    assert "Traceback" not in ended.err
    assert not ended.out


@pytest.mark.parametrize("given", [("--step-size", "1/0"), ("--step-size=many",), ("--sigma", "")])
def test_what_is_no_number_is_named_with_its_option(fame, given):
    ended = fame("explain", *given)
    assert ended.code == 2
    assert ended.err.startswith(f"fame: {given[0].partition('=')[0]} ")
    assert "expected a finite number, such as 0.5, 1e-3 or 1/255." in ended.err


@pytest.mark.parametrize("command", ["score", "report"])
def test_a_command_without_what_it_works_on_says_so(fame, command):
    ended = fame(command)
    assert ended.code == 2
    assert "expected folders of fame run" in ended.err


def test_a_bar_that_only_a_line_above_it_has_drawn_ends_its_own(capsys):
    with progress_bar(1, "step", hide=False) as bar:
        bar.update()
        bar.delay = 0.01
        time.sleep(0.02)
        say_error("one thing was wrong")
    ended = capsys.readouterr().err
    assert "1/1" in ended
    assert ended.endswith("\n")


def test_a_line_above_a_young_bar_does_not_show_the_bar(capsys):
    with progress_bar(3, "step", hide=False) as bar:
        bar.update()
        say_error("one thing was wrong")
    assert capsys.readouterr().err.split() == ["fame:", "one", "thing", "was", "wrong"]
