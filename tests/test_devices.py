"""A batch size is found where none is given, and one device or many give the same maps."""

import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from fame_jax.batching import devices

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_the_batch_size_on_cpu_is_one_a_device():
    assert devices.fitting(devices.local_mesh(), 9, lambda size: None) == 1


def test_a_batch_size_is_no_more_than_there_are_examples_and_divides_them_evenly(monkeypatch):
    monkeypatch.setattr(devices, "MOST_ON_CPU", 4)
    mesh = devices.local_mesh()

    def never(size):
        raise AssertionError("nothing needs compiling to know that")

    sizes = {count: devices.fitting(mesh, count, never) for count in (None, 1, 2, 4, 5, 9, 100)}
    # As few batches as fours would make, and evenly filled.
    assert sizes == {None: 4, 1: 1, 2: 2, 4: 4, 5: 3, 9: 3, 100: 4}


@pytest.mark.parametrize(("free", "expected"), [(1e6, 64), (6500, 64), (6499, 63), (3300, 32), (150, 1), (1, 1)])
def test_the_batch_size_is_the_largest_that_fits(free, expected):
    tried = []

    def needed(size):
        tried.append(size)
        return 100 + 100 * size

    size = devices.largest(needed, free, 64)
    assert size <= expected
    assert size >= 0.9 * expected
    assert len(tried) <= 3


def test_a_compiler_that_runs_out_of_memory_is_asked_for_half():
    assert devices.largest(lambda size: float("inf") if size > 20 else 1, 10, 64) == 16


def test_the_batch_size_comes_from_the_free_memory_of_the_fullest_device_and_the_compilers_plan(monkeypatch):
    mesh = devices.local_mesh()
    compiled = jax.jit(lambda x: jnp.sin(x) @ jnp.cos(x).T).lower

    def program(size):
        return compiled(jax.ShapeDtypeStruct((size, 1000), jnp.float32)).compile()

    need = devices._needed(program, 16)
    assert need >= 16 * 1000 * 4
    monkeypatch.setattr(devices, "_free", lambda _: need)
    assert 12 <= devices.fitting(mesh, None, program) <= 16


ON_EIGHT = """
import sys
import jax, numpy as np
sys.path.insert(0, {tests!r})
from test_batching import OPTIONS, examples, network
from fame_jax import class_logit
from fame_jax.batching import map_many, perturb_many
import jax.numpy as jnp

assert jax.device_count() == 8
one = jax.make_mesh((1,), ("batch",), devices=jax.devices()[3:4])
square = jax.make_mesh((2, 4), ("host", "chip"))
explicit = jax.make_mesh((4,), ("batch",), (jax.sharding.AxisType.Explicit,), devices=jax.devices()[:4])

def run(dtype, **how):
    net, given = network(dtype), examples(19, dtype)
    many = list(perturb_many(class_logit, given, net, **how))
    assert [i for i, _ in many] == list(range(19))
    maps = list(map_many(class_logit, given, net, **{{k: v for k, v in how.items() if k in ("batch_size", "mesh")}}))
    assert [i for i, _ in maps] == list(range(19))
    return [np.stack(x) for x in zip(*(walk for _, walk in many))], np.stack([x for _, x in maps])

with jax.enable_x64(True):
    alone = run(jnp.float64, mesh=one, batch_size=1, **OPTIONS)
    for how in ({{}}, {{"mesh": square, "batch_size": 13}}, {{"mesh": one}}):
        found = run(jnp.float64, **how, **OPTIONS)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(alone)):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)
    assert len(set(alone[0][1].tolist())) > 3
    # A mesh that is set is the caller's own affair, whatever its size and kind.
    for around, how in ((square, {{"mesh": explicit}}), (explicit, {{}})):
        with jax.set_mesh(around):
            for a, b in zip(jax.tree.leaves(run(jnp.float64, **how, **OPTIONS)), jax.tree.leaves(alone)):
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)
# A logit is a sum of 3,072 terms here, whose magnitudes add up to 40: rounding moves it by 5e-6.
short = run(jnp.float32, mesh=one, batch_size=1, iterations=5)
for a, b in zip(jax.tree.leaves(run(jnp.float32, iterations=5)), jax.tree.leaves(short)):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
print("same")
"""


def test_eight_devices_give_the_maps_of_one():
    code = ON_EIGHT.format(tests=str(ROOT / "tests"))
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    environment = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        cwd=ROOT,
        timeout=300,
    )
    assert result.stdout.strip().endswith("same"), result.stderr
