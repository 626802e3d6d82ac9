"""Traced programs on disk: the next process gets the same program, and never another's."""

import functools
import importlib.metadata
import os
import pathlib
import pickle
import subprocess
import sys
import tomllib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fame_jax import class_logit
from fame_jax.batching import map_many, perturb_many, traced
from fame_jax.identity import of_libraries
from fame_jax.network import vector

LIBRARIES = {"builtins", "fame_jax", "flax", "functools", "jax", "jaxlib", "numpy"}


def network(seed=0, width=4):
    rngs = nnx.Rngs(seed)
    return nnx.Sequential(
        nnx.Conv(3, width, (3, 3), rngs=rngs),
        nnx.relu,
        functools.partial(jnp.mean, axis=(0, 1)),
        nnx.Linear(width, 5, rngs=rngs),
    )


def image(size=12):
    return np.asarray(jax.random.uniform(jax.random.key(1), (size, size, 3)))


def walked(net, label=2, size=12, **options):
    options = {"iterations": 4, **options}
    return jax.device_get(next(perturb_many(class_logit, [(image(size), (label,))], net, **options))[1])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(traced, "folder", tmp_path)
    forgotten(monkeypatch)
    return tmp_path


def forgotten(monkeypatch):
    """As in a new process."""
    traced._code.cache_clear()
    monkeypatch.setattr(traced, "_programs", {})
    monkeypatch.setattr(traced, "_refused", set())


def traced_from_now(monkeypatch):
    """As in a new process; a list of what is traced there."""
    forgotten(monkeypatch)
    programs, trace = [], traced._traced

    def noted(plain, leaves):
        programs.append(plain)
        return trace(plain, leaves)

    monkeypatch.setattr(traced, "_traced", noted)
    return programs


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_a_program_of_another_process_gives_the_same_bits_and_is_not_traced(folder, monkeypatch):
    first = walked(network())
    anew = traced_from_now(monkeypatch)
    assert same(walked(network()), first)
    # Weights, labels and numbers of steps are data.
    other = walked(network(1), label=0, iterations=3)
    assert not same(other, first)
    assert not anew
    assert not traced._refused
    traced.folder = None
    assert same(walked(network()), first)
    assert same(walked(network(1), label=0, iterations=3), other)


@pytest.mark.parametrize("change", [{"width": 5}, {"size": 13}, {"optimizer": "adam"}, {"precision": "float64"}])
def test_whatever_tracing_looks_at_makes_another_program(folder, change):
    import optax

    walked(network())
    before = len(list(folder.iterdir()))
    options = {"optimizer": optax.adam} if "optimizer" in change else {}
    with jax.enable_x64("precision" in change):
        walked(network(width=change.get("width", 4)), size=change.get("size", 12), **options)
    assert len(list(folder.iterdir())) > before


def test_sources_versions_and_settings_are_in_the_name(folder, monkeypatch):
    walked(network())
    before = traced._surroundings()
    monkeypatch.setenv("JAX_SOMETHING", "1")
    assert traced._surroundings() != before
    monkeypatch.delenv("JAX_SOMETHING")
    assert traced._surroundings() == before
    with jax.default_matmul_precision("bfloat16"):
        assert traced._surroundings() != before
    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "version", lambda name: "1.2.3")
        traced._code.cache_clear()
        assert traced._surroundings() != before
    package = folder / "package"
    package.mkdir()
    (package / "a.py").write_text("a = 1")
    monkeypatch.setattr(traced, "_PACKAGE", package)
    traced._code.cache_clear()
    one = traced._surroundings()
    os.utime(package / "a.py", (1, 1))
    traced._code.cache_clear()
    assert traced._surroundings() != one


def test_code_of_somebody_else_is_traced_in_every_process(folder):
    def mine(image, net):
        return vector(net(image))

    found = next(map_many(mine, [(image(), ())], network()))[1]
    assert found.shape == (5,)
    assert not list(folder.iterdir())
    own = nnx.Sequential(network(), lambda x: 2 * x)
    walked(own)
    advanced = [path for path in folder.iterdir() if path.stat().st_size > 20_000]
    assert not advanced


@pytest.mark.parametrize("damaged", [lambda b: b[:-50], lambda b: b[:900] + bytes(20) + b[920:]], ids=["cut", "zeros"])
def test_a_damaged_file_is_made_anew(damaged, folder, monkeypatch):
    first = walked(network())
    for path in folder.iterdir():
        path.write_bytes(damaged(path.read_bytes()))
    anew = traced_from_now(monkeypatch)
    assert same(walked(network()), first)
    assert len(anew) == len(list(folder.iterdir()))
    anew.clear()
    forgotten(monkeypatch)
    assert same(walked(network()), first)
    assert not anew


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


def test_a_file_runs_no_code(folder, monkeypatch):
    monkeypatch.chdir(folder)
    path = folder / "traced-1"
    path.write_bytes(pickle.dumps((Evil(), b"")))
    with path.open("rb") as file, pytest.raises(pickle.UnpicklingError, match="does not belong here"):
        traced._Reader(file).load()
    assert not (folder / "evil").exists()


def test_a_folder_that_cannot_be_written_only_costs_time(folder, monkeypatch):
    monkeypatch.setattr(traced, "folder", folder / "missing")
    first = walked(network())
    monkeypatch.setattr(traced, "folder", None)
    assert same(walked(network()), first)


def test_functions_of_one_name_are_told_apart_by_their_code():
    def named(function):
        function.__module__, function.__qualname__ = "fame_jax.losses", "<lambda>"
        return function

    one, other = named(lambda x: x), named(lambda x: x)
    assert of_libraries(one, LIBRARIES) == of_libraries(one, LIBRARIES) is not None
    again = named(
        lambda x: x,
    )
    assert of_libraries(again, LIBRARIES) != of_libraries(one, LIBRARIES)
    assert of_libraries(named(lambda x: -x), LIBRARIES) != of_libraries(other, LIBRARIES)
    assert of_libraries(lambda x: x, LIBRARIES) is None
    assert of_libraries(functools.partial(lambda x: x, 1), LIBRARIES) is None


def test_what_jax_needs_to_write_a_traced_program_is_installed_with_the_package():
    project = tomllib.loads((pathlib.Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())["project"]
    assert any(requirement.startswith("flatbuffers") for requirement in project["dependencies"])


def test_commands_keep_them_beside_compiled_programs_unless_another_folder_is_named(tmp_path):
    code = "from fame_jax.cli import console; from fame_jax.batching import traced; console.keep_compiled_programs(); "
    given = {**os.environ, "FAME_HOME": str(tmp_path), "JAX_COMPILATION_CACHE_DIR": ""}
    said = [sys.executable, "-c", code + "print(traced.folder)"]
    assert subprocess.check_output(said, env=given, text=True).strip() == str(tmp_path / "compiled")
    given["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / "own")
    assert subprocess.check_output(said, env=given, text=True).strip() == "None"
