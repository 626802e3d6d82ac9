import subprocess
import sys

import pytest

from fame_jax import metrics


def test_every_listed_name_is_there():
    # A module of the same name as its function must not take its place.
    assert [name for name in metrics.__all__ if type(getattr(metrics, name)).__name__ == "module"] == []


def test_a_name_that_is_not_listed_is_refused():
    with pytest.raises(AttributeError, match=r"fame_jax\.metrics.*'auc'"):
        _ = metrics.auc


def test_statistics_are_imported_when_first_used():
    program = (
        "import sys; from fame_jax import metrics; before = {'skimage', 'scipy.stats'} & sys.modules.keys(); "
        "metrics.map_similarity, metrics.estimate; print(before, 'scipy.stats' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["set()", "True"]
