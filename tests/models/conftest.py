"""Commands are run in this process, as in `tests/cli`."""

from tests.cli.conftest import fame

__all__ = ["fame"]
