"""Ctrl-C takes effect, also where Python itself would swallow it."""

import contextlib
import os
import signal

import pytest

from fame_jax.cli import interrupts
from fame_jax.cli.progress import progress_bar


@pytest.mark.parametrize("hide", [True, False])
def test_an_interrupt_that_was_swallowed_is_raised_at_the_next_progress(hide):
    with interrupts.remembered(), progress_bar(2, "step", hide=hide) as bar:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            bar.update()
        bar.update()


def test_without_an_interrupt_nothing_is_raised_and_the_handler_is_put_back():
    before = signal.getsignal(signal.SIGINT)
    with interrupts.remembered():
        assert signal.getsignal(signal.SIGINT) is not before
        interrupts.raise_if_seen()
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_of_an_earlier_command_is_forgotten():
    with interrupts.remembered(), contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    with interrupts.remembered():
        interrupts.raise_if_seen()
