"""Memory of FGGB and CorrRISE by chunk size: what the compiled program needs besides weights, images and maps.

The compiler's own plan says so exactly, so nothing has to be run; `--run` also times one pair.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import tyro

from fame_jax.explainers import corrrise, fggb
from fame_jax.models import abstract, build, card

MIB = 2**20


def of_fggb(network: Any, probe: jax.Array, gallery: jax.Array, key: jax.Array, *, chunk: int) -> Any:
    return fggb(network, probe, gallery, chunk=chunk)


def of_corrrise(network: Any, probe: jax.Array, gallery: jax.Array, key: jax.Array, *, chunk: int) -> Any:
    return corrrise(network, probe, gallery, key=key, chunk=chunk)


def measure(explain: Callable[..., Any], network: str, run: bool) -> tuple[int, str]:
    """Bytes of temporary memory, and the seconds of a pair."""
    size = card(network).size
    key = jax.random.key(0)
    face = jax.ShapeDtypeStruct((size, size, 3), jnp.float32)
    program = jax.jit(explain).lower(abstract(network), face, face, key).compile()
    plan = program.memory_analysis()
    if plan is None:
        raise SystemExit("This backend does not tell how much memory a program needs.")
    if not run:
        return plan.temp_size_in_bytes, "-"
    weights, faces = build(network), jax.random.uniform(key, (2, size, size, 3))
    start = time.perf_counter()
    jax.block_until_ready(program(weights, *faces, key))
    return plan.temp_size_in_bytes, f"{time.perf_counter() - start:.1f}"


def main(network: str = "iresnet101", chunks: tuple[int, ...] = (1, 8, 32, 64, 128), run: bool = False) -> None:
    """Prints a table: 512 dimensions for FGGB and 500 masks for CorrRISE, with the defaults of both.

    Args:
        network: a face network of the registry; its weights do not matter.
        chunks: dimensions or masks in memory at once.
        run: run every program once, too.
    """
    print(f"{jax.devices()[0].device_kind}, JAX {jax.__version__}, {network}, float32\n")
    print("| method | chunk | temporary memory, MiB | a pair, s |")
    print("|---|---|---|---|")
    for name, explain in {"FGGB": of_fggb, "CorrRISE": of_corrrise}.items():
        for chunk in chunks:
            memory, seconds = measure(functools.partial(explain, chunk=chunk), network, run)
            print(f"| {name} | {chunk} | {memory / MIB:.0f} | {seconds} |", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
