"""The node tests that the `onnx` package ships, for every operator of the table."""

import collections
import functools
import warnings

import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from fame_jax.onnx.errors import GraphError
from fame_jax.onnx.evaluation import as_written, evaluate
from fame_jax.onnx.graph import SHAPE_INPUTS, parse
from fame_jax.onnx.operators import OPERATORS

pytestmark = pytest.mark.slow

PASSED = 850
"""At least; the figure of onnx 1.23.2. Later releases bring more tests."""

# Where the specification's reference and ONNX Runtime disagree we are with ONNX Runtime.
OTHERWISE = {"test_resize_downsample_scales_linear_align_corners", "test_resize_downsample_scales_cubic_align_corners"}

# Why a test may be refused: what a network of pixels in one precision does not have.
REFUSED = (
    "; expected one of float,",  # Strings, and numbers of 8 bits and less.
    "is no tensor",
    "evaluation mode",
    "its output",  # Masks of dropout and the like, beyond the first output.
    "keys of the past",
    "is not supported",
    "are not supported",
    "expected one from 7 to",
    "depends on the pixels",
    "zero-size array to reduction",
    "cannot convert float infinity to integer",
    "not supported; its inputs",
)


@functools.cache
def cases():
    with warnings.catch_warnings():
        # The package computes its expected values with overflows and divisions by zero.
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return [
            case
            for case in collect_testcases(None)
            if case.model is not None
            and all(n.op_type in OPERATORS and n.domain in ("", "ai.onnx") for n in case.model.graph.node)
        ]


def plain(value):
    return np.asarray(numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value)


def outcome(case):
    """`passed`, or what is different; GraphError if refused."""
    graph, parameters = parse(case.model)
    static = {n.inputs[i] for n in graph.nodes for i in SHAPE_INPUTS.get(n.operator, ()) if i < len(n.inputs)}
    inputs, outputs = case.data_sets[0]
    given = {}
    for value, array in zip(case.model.graph.input, map(plain, inputs), strict=False):
        floats = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
        given[value.name] = jnp.asarray(array, jnp.float32) if floats and value.name not in static else array
    # Of nodes with a mask or statistics beside the output, the output.
    count = 1 if case.model.graph.node[0].op_type in ("LayerNormalization", "Dropout") else len(outputs)
    found = evaluate(graph, parameters, given, [value.name for value in case.model.graph.output][:count])
    for ours, expected in zip(map(as_written, found), map(plain, outputs), strict=False):
        ours = np.asarray(ours)
        if ours.shape != expected.shape:
            return f"shape {ours.shape}, expected {expected.shape}"
        coarse = {"float16": 2e-3, "bfloat16": 2e-2}.get(expected.dtype.name, max(case.rtol, 1e-5))
        if not np.allclose(ours.astype(float), expected.astype(float), rtol=coarse, atol=1e-5, equal_nan=True):
            return f"off by {np.nanmax(np.abs(ours.astype(float) - expected.astype(float)))}"
    return "passed"


@pytest.fixture(scope="module")
def outcomes():
    found = {}
    for case in cases():
        try:
            found[case.name] = outcome(case)
        except GraphError as error:
            found[case.name] = error
    return found


def test_no_node_test_of_the_package_fails(outcomes):
    wrong = {name: text for name, text in outcomes.items() if isinstance(text, str) and text != "passed"}
    assert set(wrong) == OTHERWISE, wrong


def test_refused_node_tests_say_why_in_one_line(outcomes):
    refused = {name: str(error) for name, error in outcomes.items() if isinstance(error, GraphError)}
    unexpected = {n: text for n, text in refused.items() if "\n" in text or not any(why in text for why in REFUSED)}
    assert not unexpected


def test_enough_of_them_pass(outcomes):
    counts = collections.Counter("refused" if isinstance(o, GraphError) else o for o in outcomes.values())
    assert counts["passed"] >= PASSED, counts
