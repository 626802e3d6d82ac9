"""Two networks are one only if parameters and code are."""

import copy
import functools
import importlib
import linecache
import subprocess
import sys
import textwrap

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.tree_util import Partial

from fame_jax import Split, models
from fame_jax.experiments.identity import network_identity
from fame_jax.identity import IdentityError, identity


def linear(weights, image):
    return image.reshape(-1) @ weights


def doubled(weights, image):
    return 2 * image.reshape(-1) @ weights


def weights(seed=0):
    return jax.random.normal(jax.random.key(seed), (12, 3))


class Module(nnx.Module):
    def __init__(self, seed=0, activation=nnx.relu):
        self.out, self.activation = nnx.Linear(12, 3, rngs=nnx.Rngs(seed)), activation

    def __call__(self, image):
        return self.activation(self.out(image.reshape(-1)))


def closure(factor):
    return lambda image: factor * image.reshape(-1)[:3]


NETWORKS = {
    "partial": lambda: Partial(linear, weights()),
    "other weights": lambda: Partial(linear, weights(1)),
    "other code": lambda: Partial(doubled, weights()),
    "functools": lambda: functools.partial(linear, np.asarray(weights())),
    "split": lambda: Split(Partial(linear, weights()), jnp.tanh),
    "other head": lambda: Split(Partial(linear, weights()), jnp.sin),
    "nnx": Module,
    "other seed": lambda: Module(1),
    "other activation": lambda: Module(activation=nnx.gelu),
    "equinox": lambda: eqx.nn.MLP(12, 3, 4, 1, key=jax.random.key(0)),
    "equinox, other activation": lambda: eqx.nn.MLP(12, 3, 4, 1, activation=jnp.tanh, key=jax.random.key(0)),
    "closure": lambda: closure(2.0),
    "other closure": lambda: closure(3.0),
    "method": lambda: Module().__call__,
    "compiled": lambda: Partial(jax.jit(linear), weights()),
}


def test_networks_made_twice_are_one_and_different_ones_are_not():
    found = {name: identity(make()) for name, make in NETWORKS.items()}
    assert found == {name: identity(make()) for name, make in NETWORKS.items()}
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize(
    ("one", "other"),
    [((1, 10), (11, 0)), ([1, 23], [12, 3]), (((1, 2), 3), ((1,), 2, 3)), (("ab", "c"), ("a", "bc")), ([[]], [])],
)
def test_parts_do_not_run_into_each_other(one, other):
    assert identity(one) != identity(other)
    assert identity(one) == identity(copy.deepcopy(one))


def test_another_process_says_the_same(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        textwrap.dedent("""
        import jax.numpy as jnp
        from fame_jax.identity import identity

        WEIGHTS = jnp.arange(36.0).reshape(12, 3)

        def network(image, weights=WEIGHTS):
            return image.reshape(-1) @ weights

        if __name__ == "__main__":
            print(identity(network))
        """)
    )
    said = [subprocess.run([sys.executable, file], capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert said[0] == said[1] != ""


def test_what_has_no_source_is_refused_with_the_way_to_name_it():
    namespace = {}
    exec("def network(image):\n    return image", namespace)
    with pytest.raises(IdentityError, match=r"cannot be identified: .*network has no source file.*identity='mine-1'"):
        identity(namespace["network"])


def test_a_dtype_is_the_same_however_it_is_written():
    layers = [nnx.Linear(2, 2, param_dtype=kind, rngs=nnx.Rngs(0)) for kind in ("float32", jnp.float32, np.float32)]
    assert len({identity(layer) for layer in layers}) == 1
    assert identity(np.dtype("float32")) == identity(np.float32) != identity(np.float64)


def test_a_published_network_is_the_same_from_its_file_and_as_installed(shared_data):
    from_file = models.find("mobilenet_v2", shared_data / "weights" / "mobilenet_v2-b0353104.pth")
    installed = models.find("mobilenet_v2")
    assert identity(from_file.network) == identity(installed.network)
    assert network_identity(from_file.network, "mobilenet_v2") == installed.card.sha256 == from_file.card.sha256


USING = """
import helping
import numpy as np

WEIGHTS = np.full((12, 3), {weight})

def scale():
    return {scale}

class Layer:
    def __call__(self, image):
        return image.reshape(-1) @ WEIGHTS

def network(image):
    return [scale() * one for one in (Layer()(image), helping.more())]

def layer():
    return Layer()
"""


@pytest.mark.parametrize("what", ["network", "layer"])
def test_what_code_names_of_its_module_counts(tmp_path, monkeypatch, what):
    def of(weight, scale, more):
        (tmp_path / "helping.py").write_text(f"def more():\n    return {more}\n")
        (tmp_path / "using.py").write_text(USING.format(weight=weight, scale=scale))
        for name in ("using", "helping"):
            sys.modules.pop(name, None)
        linecache.clearcache()
        return identity(getattr(importlib.import_module("using"), what))

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found = of(1, 2, 3)
    assert of(1, 2, 3) == found
    assert of(1.5, 2, 3) != found
    if what == "network":
        assert of(1, 2.5, 3) != found
        assert of(1, 2, 3.5) != found


def test_a_recursive_function_and_its_module_end():
    assert identity(again) == identity(again)


def again(image):
    return again(image) + sys.maxsize if image is None else jnp.sum(image)
