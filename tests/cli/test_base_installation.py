"""What `pip install fame-jax` alone gives: every command is there, and says which extra it needs once it needs one."""

import shutil
import subprocess
import sys

import pytest

from fame_jax.data.images import sample_path

WITHOUT = """
import sys
for name in "cv2 onnx h5py safetensors huggingface_hub grain array_record tensorflow_datasets ray".split():
    sys.modules[name] = None
"""


def ended(code):
    return subprocess.run([sys.executable, "-c", WITHOUT + code], capture_output=True, text=True)


def test_every_command_shows_its_options():
    code = """
import importlib
from fame_jax.cli.console import COMMANDS
for module, command, _ in COMMANDS.values():
    getattr(importlib.import_module(module), command)
"""
    found = ended(code)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("words", ["'detect'", "'explain', '--model', 'a.onnx'", "'verify', '--why-detected'"])
def test_what_needs_onnx_says_so_in_one_line(words, tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"")
    found = ended(f"import os; os.chdir({str(tmp_path)!r})\nfrom fame_jax.cli import main\nmain([{words}])")
    assert found.returncode == 2
    assert "pip install 'fame-jax[onnx]'" in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1, found.stderr


@pytest.mark.parametrize("words", ["'prepare', 'folder', '.', '--out', 'set'", "'check', 'tfds:cats', '.'"])
def test_what_needs_grain_says_so_in_one_line(words, tmp_path):
    shutil.copy(sample_path("cat"), tmp_path)
    found = ended(f"import os; os.chdir({str(tmp_path)!r})\nfrom fame_jax.cli import main\nmain([{words}])")
    assert found.returncode == 2
    assert "pip install 'fame-jax[data]'" in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1, found.stderr
