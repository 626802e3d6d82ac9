"""Strict in tests, nothing at run time: shapes and types are checked at every call, rank promotion raises."""

import pathlib

import jax
import pytest
from jaxtyping import install_import_hook

# Before the first import of the package, so that every module of it is instrumented.
install_import_hook("fame_jax", "beartype.beartype")

jax.config.update("jax_numpy_rank_promotion", "raise")

ROOT = pathlib.Path(__file__).resolve().parents[1]


def _declare_torchvision_operators() -> None:
    """torchvision's wheel refuses to import beside a CPU-only torch until two of its operators are known."""
    torch = pytest.importorskip("torch")
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declare_torchvision_operators.keep = library  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def torchvision():
    """torchvision, or a skip where torch is not installed."""
    if not hasattr(_declare_torchvision_operators, "keep"):
        _declare_torchvision_operators()
    return pytest.importorskip("torchvision")


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """Real weights and photographs, which are not part of the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data")
    return folder
