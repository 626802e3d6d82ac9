"""Files are whole or not there, and nothing but files is replaced."""

import os
import stat

import pytest

from fame_jax.files import write


def test_a_device_a_pipe_and_a_folder_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(OSError, match=f"{name}: it is no regular file and is not replaced"):
            write(tmp_path / name, lambda file: file.write(b"x"))
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"]


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path):
    path = tmp_path / "result"
    write(path, lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, fail)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["result"]
