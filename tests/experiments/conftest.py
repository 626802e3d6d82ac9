"""`fame` as in the tests of the command line."""

from tests.cli.conftest import fame

__all__ = ["fame"]
