"""An exported explanation runs without this package and gives the same maps."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import class_logit, explain, models
from fame_jax import onnx as reader
from fame_jax.data.faces import sample_face, sunglasses
from fame_jax.engine import Engine
from fame_jax.explainers import EXPLAINERS
from fame_jax.explainers.explainer import MethodError
from fame_jax.export import exported
from tests.cli.conftest import fame  # noqa: F401 - a fixture.
from tests.onnx.graphs import content, convolutional, pixels

SIDE = 32
ALONE = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("fame_jax", "weight_conversion", "flax", "optax", "onnx"):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Block())
import jax
import jax.export
import numpy as np

artefact, inputs, outputs = sys.argv[1:]
jax.config.update("jax_enable_x64", "64" in artefact)
program = jax.export.deserialize(bytearray(open(artefact, "rb").read()))
assert set(program.platforms) == {"cpu", "cuda", "tpu"}
with np.load(inputs) as file:
    found = program.call(*(file[name] for name in file.files))
np.savez(outputs, **found)
"""


def alone(artefact, *inputs):
    """The maps of an artefact in a process that has JAX and NumPy alone."""
    given, found = artefact.with_suffix(".in.npz"), artefact.with_suffix(".out.npz")
    np.savez(given, *inputs)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-c", ALONE, str(artefact), str(given), str(found)]
    subprocess.run(command, check=True, cwd=artefact.parent, env=environment, timeout=300)
    with np.load(found) as file:
        return dict(file)


@pytest.mark.parametrize(("precision", "steps"), [("float32", 3), ("float64", 40)])
def test_a_fresh_process_has_the_map_of_explain(fame, tmp_path, precision, steps):  # noqa: F811
    graph, artefact = tmp_path / "small.onnx", tmp_path / f"{precision}.jax"
    graph.write_bytes(content(convolutional()))
    told = ("--model", graph, "--preset-input", "unit", "--size", SIDE, "--precision", precision)
    with jax.enable_x64(precision == "float64"):
        ended = fame("export", "explain", *told, "--iterations", steps, "--out", artefact)
        assert ended.code == 0, ended.err
        assert f"image {precision}[{SIDE}, {SIDE}, 3], label int32" in ended.out
        image = pixels(SIDE, np.dtype(precision))
        network = reader.read(graph, photometry="unit").in_precision(precision, "highest")
        expected = jax.jit(lambda x, network: explain(class_logit, x, network, 3, iterations=steps).attribution)(
            jnp.asarray(image), network
        )
        found = alone(artefact, image, np.int32(3))["attribution"]
    assert found.dtype == image.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 if precision == "float64" else 1e-4)


@pytest.mark.slow
def test_faces_are_a_pair_and_other_methods_are_exported_alike(fame, tmp_path):  # noqa: F811
    ended = fame("export", "explain", "--model", "sface", "--method", "fggb", "--out", tmp_path / "pair.jax")
    assert ended.code == 0, ended.err
    face = sample_face().image
    covered = sunglasses(face).image
    found = alone(tmp_path / "pair.jax", face, covered)
    row, network = EXPLAINERS["fggb"], models.load("sface")
    # The command gives a method the threshold that is published with SFace.
    expected = jax.jit(lambda a, b, network: row.explain_pair(network, a, b, threshold=0.363))(face, covered, network)
    for name, map_ in found.items():
        np.testing.assert_allclose(map_, getattr(expected, name).attribution, rtol=0, atol=1e-4)


def test_what_cannot_be_exported_ends_in_one_line(fame, tmp_path):  # noqa: F811
    (tmp_path / "small.onnx").write_bytes(content(convolutional()))
    told = ("--model", tmp_path / "small.onnx", "--preset-input", "unit", "--size", SIDE)
    for arguments, words in (
        (("--method", "rise"), "rise draws random numbers"),
        (("--method", "fame,grad_cam"), "a program is of one method"),
        (("--out", tmp_path / "no" / "where"), "its folder is not there"),
    ):
        ended = fame("export", "explain", *told, *arguments)
        assert ended.code == 2
        assert words in ended.err
        assert len(ended.err.strip().splitlines()) == 1


def test_an_engine_of_detections_has_no_program():
    method = Engine(lambda image: image, "detect").method("grad_cam")
    with pytest.raises(MethodError, match="detections cannot be exported"):
        exported(method, SIDE)
