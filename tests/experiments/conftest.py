import pytest

from tests.cli.conftest import fame
from tests.experiments import tiny

__all__ = ["fame", "folder"]


@pytest.fixture
def folder(tmp_path):
    """Five small pictures, the fourth of which is cut short."""
    paths = tiny.pictures(tmp_path / "pictures", 5)
    paths[3].write_bytes(paths[3].read_bytes()[:300])
    return tmp_path / "pictures"
