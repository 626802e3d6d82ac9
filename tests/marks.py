"""Cases of a test that only `.ci/thorough` takes, or nobody unless asked."""

import pytest


def thorough(*cases):
    """These cases for a thorough run: `@pytest.mark.parametrize("name", ["small", *thorough("large")])`."""
    return [pytest.param(case, marks=pytest.mark.thorough) for case in cases]


def slow(*cases):
    """The same for those that take minutes."""
    return [pytest.param(case, marks=pytest.mark.slow) for case in cases]
