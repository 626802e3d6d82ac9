"""What all commands share: bad options in one line."""

import os
import pty
import subprocess
import sys
import termios
import time

import numpy as np
import pytest

from fame_jax.cli import progress
from fame_jax.cli.console import say_error
from fame_jax.cli.progress import progress_bar


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


def test_the_package_runs_as_a_module():
    ended = subprocess.run([sys.executable, "-m", "fame_jax", "--help"], capture_output=True, text=True, check=True)
    assert "explain" in ended.stdout


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(progress, "_draws_over", lambda: True)


@pytest.mark.usefixtures("terminal")
def test_a_bar_that_only_a_line_above_it_has_drawn_ends_its_own(capsys):
    with progress_bar(1, "step", hide=False) as bar:
        bar.update()
        bar.delay = 0.01
        time.sleep(0.02)
        say_error("one thing was wrong")
    ended = capsys.readouterr().err
    assert "1/1" in ended
    assert ended.endswith("\n")


@pytest.mark.usefixtures("terminal")
def test_a_line_above_a_young_bar_does_not_show_the_bar(capsys):
    with progress_bar(3, "step", hide=False) as bar:
        bar.update()
        say_error("one thing was wrong")
    assert capsys.readouterr().err.split() == ["fame:", "one", "thing", "was", "wrong"]


@pytest.mark.usefixtures("terminal")
def test_a_bar_is_there_before_the_first_is_done(capsys, monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 0.02)
    with progress_bar(3, "step", hide=False):
        time.sleep(0.2)
        assert "0/3" in capsys.readouterr().err
    capsys.readouterr()
    with progress_bar(3, "step", hide=True):
        time.sleep(0.1)
    assert "0/3" not in capsys.readouterr().err


def test_in_a_log_there_are_plain_lines_now_and_then_and_at_the_end(capsys, monkeypatch):
    clock = iter(np.arange(0, 1000, 3.5))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with progress_bar(10, "step", hide=False) as bar:
        bar.set_description("deletion")
        for _ in range(10):
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("deletion: ") for line in lines)
    assert [int(line.split()[2].split("/")[0]) for line in lines] == [6, 10]
    assert "\r" not in "".join(lines)


def test_what_is_over_soon_leaves_nothing_in_a_log(capsys):
    with progress_bar(10, "step", hide=False) as bar:
        bar.update(10)
    assert not capsys.readouterr().err


SLOW = """
import time
from fame_jax.cli.progress import progress_bar
with progress_bar(3, "step", hide=False) as bar:
    for _ in range(3):
        time.sleep(0.8)
        bar.update()
"""


@pytest.mark.thorough
def test_the_bar_is_drawn_on_a_terminal_only():
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    try:
        subprocess.run([sys.executable, "-c", SLOW], stderr=slave, check=True, timeout=60)
        drawn = os.read(master, 10_000).decode()
    finally:
        os.close(slave)
        os.close(master)
    piped = subprocess.run([sys.executable, "-c", SLOW], capture_output=True, check=True, timeout=60).stderr.decode()
    assert "\r" in drawn
    assert "|" in drawn
    assert piped.count("\n") == 1
    assert piped.startswith("100% 3/3 [00:0")
    assert "\r" not in piped
