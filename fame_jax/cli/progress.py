"""How far a command is: a bar on a terminal, a plain line now and then in logs and pipes."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

from tqdm import tqdm

from fame_jax.cli import interrupts

DELAY = 2.0
"""Seconds; what is over sooner shows nothing."""

BETWEEN_LINES = 20.0
"""Seconds."""


@contextlib.contextmanager
def progress_bar(total: int, unit: str, *, hide: bool) -> Iterator["Bar | Lines"]:
    """A bar with the time left, on standard error, or lines where nothing can be drawn over."""
    scale = total > 9999
    if hide or sys.stderr is None or _draws_over():
        bar = Bar(total=total, unit=unit, unit_scale=scale, delay=DELAY, disable=hide, dynamic_ncols=True)
    else:
        bar = Lines(total, unit, scale)
    with contextlib.closing(bar), bar.begun():
        yield bar


def _draws_over() -> bool:
    """Whether a line can be drawn over: on a terminal, and in the output of a notebook."""
    return "ipykernel" in sys.modules or sys.stderr.isatty()


class Bar(tqdm):
    """A bar at which a Ctrl-C takes effect even if it was lost on the way, and which nothing shows before its delay."""

    _shown = False

    @contextlib.contextmanager
    def begun(self) -> Iterator[None]:
        """Draws it after the delay, though nothing is done yet: the first one is compiled for longer than that."""
        timer = threading.Timer(DELAY, self.refresh)
        timer.daemon = True
        if not self.disable:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if timer.ident:
                timer.join()

    def update(self, n: float | int | None = 1) -> bool | None:
        """One more, or n."""
        interrupts.raise_if_seen()
        return super().update(n)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Draws it."""
        # A line written above the bar would draw it anew, however early.
        if time.time() >= self.start_t + self.delay:
            self._shown = True
            super().display(msg, pos)

    def close(self) -> None:
        """Leaves it as it is now."""
        if self._shown:
            # tqdm ends the line only of a bar that an update has drawn, not of one that a line above it drew anew.
            self.last_print_t = time.time()
        super().close()


class Lines:
    """In place of a bar where nothing can be drawn over: a plain line now and then, and one at the end."""

    def __init__(self, total: int, unit: str, unit_scale: bool):
        self.total, self.n, self._description = total, 0, ""
        self._unit = {"unit": unit, "unit_scale": unit_scale}
        self._start = self._last = time.monotonic()

    def begun(self) -> contextlib.AbstractContextManager[None]:
        """Nothing: a line comes with the first that is done."""
        return contextlib.nullcontext()

    def set_description(self, text: str, refresh: bool = True) -> None:
        """What lines begin with from now on."""
        self._description = f"{text}: "

    def update(self, n: float | int = 1) -> None:
        """One more, or n."""
        interrupts.raise_if_seen()
        self.n += n
        if time.monotonic() - self._last >= BETWEEN_LINES:
            self._write()

    def close(self) -> None:
        """The last line, where it took long enough for any."""
        if time.monotonic() - self._start >= DELAY:
            self._write()

    def _write(self) -> None:
        self._last = time.monotonic()
        spent = self._last - self._start
        line = tqdm.format_meter(self.n, self.total, spent, ncols=0, prefix=self._description, **self._unit)
        print(line.strip(), file=sys.stderr, flush=True)
