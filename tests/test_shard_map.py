"""Everything runs inside a `jax.shard_map` that checks what varies among devices, and gives what it gives outside."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROGRAM = """
import jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import Mesh, PartitionSpec as P
from flax import nnx
from fame_jax import Split, class_logit, explain, perturb
from fame_jax.architectures.convnext import ConvNeXt
from fame_jax.architectures.probes import Probed
from fame_jax.explainers import EXPLAINERS
from fame_jax.metrics import deletion, insertion, road_combined, road_delete

mesh, key = Mesh(np.array(jax.devices()), ("batch",)), jax.random.key(0)
assert mesh.size == 2
weights = jax.random.normal(key, (3, 10))
network = Split(
    lambda image: jax.nn.relu(image.reshape(8, 4, 8, 4, 3).mean((1, 3))),
    jax.tree_util.Partial(lambda w, features: features.mean((0, 1)) @ w, weights),
)
with_biases = Probed(ConvNeXt((1,), (4,), classes=10, rngs=nnx.Rngs(0)))
images, maps = jax.random.uniform(key, (2, 32, 32, 3)), jax.random.uniform(key, (2, 32, 32))
labels = jnp.array([3, 5])

def same(name, function, *args):
    mapped = jax.vmap(function)
    sharded = jax.jit(jax.shard_map(mapped, mesh=mesh, in_specs=P("batch"), out_specs=P("batch"), check_vma=True))
    for one, other in zip(jax.tree.leaves(sharded(*args)), jax.tree.leaves(mapped(*args)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, err_msg=name)
    print(name)

few = {"iterations": 3}
for rules in ({}, {"stop_change": 0.01, "window": 2}, {"stop_loss": 0.0}, {"average": True}, {"clip": (0.0, 1.0)}):
    walk = lambda x, c: explain(class_logit, x, network, c, **few, **rules).attribution
    same(f"explain {rules}", walk, images, labels)
same("labels alone", lambda c: perturb(class_logit, images[0], network, c, **few).perturbed, labels)
same("step sizes", lambda s: perturb(class_logit, images[0], network, 3, step_size=s, **few).perturbed, labels / 255)
same("adam", lambda x: perturb(class_logit, x, network, 3, optimizer=optax.adam, **few).perturbed, images)
same("location", lambda x: EXPLAINERS["fame"].explain_location(network, x, (2, 3), **few).attribution, images)
for name, row in EXPLAINERS.items():
    options = {"masks": 8} if "rise" in name else few if name == "fame" else {}
    if row.of_class:
        of = with_biases if "probes" in row.needs else network
        same(name, lambda x, c: row.explain(of, x, c, key=key, **options).attribution, images, labels)
    if row.of_pair:
        pair = lambda a, b: row.explain_pair(network, a, b, key=key, **options).probe_similar.attribution
        same(f"{name} of a pair", pair, images, images[:, ::-1])
same("deletion", lambda x, m: deletion(network, x, m, 3).auc, images, maps)
same("insertion", lambda x, m: insertion(network, x, m, 3).auc, images, maps)
same("road", lambda x, m: road_delete(network, x, m, 3, key).drops, images, maps)
same("combined", lambda x, m: road_combined(network, x, m, 3, key), images, maps)
"""


@pytest.mark.thorough
def test_every_method_and_metric_runs_where_what_varies_is_checked():
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert {"fame of a pair", "smooth_grad", "fullgrad", "fullgrad_complete", "fggb of a pair", "road"} <= set(
        run.stdout.splitlines()
    )
