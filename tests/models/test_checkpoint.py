"""Stored weights are read without Orbax, and into networks whose random weights nobody has drawn."""

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx

from fame_jax.architectures import table
from fame_jax.models import checkpoint
from fame_jax.models.load import BUNDLED


@pytest.mark.parametrize("name", ["mobilenet_v2", "sface"])
def test_weights_are_read_as_orbax_reads_them(name):
    folder = checkpoint.stored_in(BUNDLED / name)
    with ocp.PyTreeCheckpointer() as checkpointer:
        tree = checkpointer.metadata(folder).item_metadata.tree
        numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        expected = checkpointer.restore(folder, ocp.args.PyTreeRestore(restore_args=numpy))
    found = checkpoint.restore(BUNDLED / name)
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        assert found[key].dtype == array.dtype
        np.testing.assert_array_equal(found[key], array)


@pytest.mark.parametrize("name", ["mobilenet_v2", "sface", "vit_b_16", "convnext_tiny", "vgg19"])
def test_a_network_without_random_weights_has_the_shapes_of_one_with(name):
    shapes, drawn = table.abstract(name), nnx.eval_shape(lambda: table.build(name))
    assert jax.tree.structure(shapes) == jax.tree.structure(drawn)
    assert jax.tree.leaves(shapes) == jax.tree.leaves(drawn)
