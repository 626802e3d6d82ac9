"""Strict in tests, nothing at run time: shapes and types are checked at every call, rank promotion raises.

Most of the tests' time is compilation, and most of their memory is what was compiled. So programs are kept from one run
to the next, compiled without the passes that only buy speed, and dropped when a file is done.
"""

import ctypes
import gc
import os
import pathlib
import resource
import signal
import sys

import jax
import pytest
from jaxtyping import install_import_hook

# Before the first import of the package, so that every module of it is instrumented.
install_import_hook("fame_jax", "beartype.beartype")

jax.config.update("jax_numpy_rank_promotion", "raise")

CACHE = pathlib.Path(
    os.environ.get("FAME_TEST_CACHE")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache", "fame_jax_tests")
)
CACHE_BYTES = 2 * 2**30
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
# The same for the processes that tests start.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

ROOT = pathlib.Path(__file__).resolve().parents[1]
PEAKS = pytest.StashKey[list[float]]()


def pytest_configure(config: pytest.Config) -> None:
    """Compiles cheaply where no test of speed is chosen; one process of all forgets what was not used for longest."""
    config.stash[PEAKS] = []
    # A shell starts what runs in the background deaf to Ctrl-C, and tests press it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Of the processes that are started next: compiler threads with heaps of their own leave holes in all of them.
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")
    if "not slow" in config.option.markexpr:
        cheap = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
        os.environ.setdefault("XLA_FLAGS", cheap)
    if not hasattr(config, "workerinput"):
        from fame_jax.files import forget_oldest

        CACHE.mkdir(parents=True, exist_ok=True)
        forget_oldest(CACHE, CACHE_BYTES)


def pytest_sessionfinish(session: pytest.Session) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    session.config.stash[PEAKS].append(peak)
    getattr(session.config, "workeroutput", {})["peak"] = peak


def pytest_testnodedown(node) -> None:
    if hasattr(node, "workeroutput"):  # not that of a worker which has crashed
        node.config.stash[PEAKS].append(node.workeroutput["peak"])


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    peaks = ", ".join(f"{peak:.2f}" for peak in config.stash[PEAKS])
    terminalreporter.write_line(f"peak memory of each process: {peaks} GB")


def _memory() -> float:
    """What the process holds now, in GiB; 0 where the system does not say."""
    try:
        return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**30
    except OSError:
        return 0.0


def _drop_what_is_compiled() -> None:
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="module", autouse=True)
def _nothing_compiled_stays():
    """Programs and networks of one file are not carried through all others."""
    yield
    _drop_what_is_compiled()


@pytest.fixture(scope="module")
def _memory_at_rest() -> list[float]:
    """What the process held when programs were dropped last."""
    return [_memory()]


@pytest.fixture(autouse=True)
def drop_once_heavy(_memory_at_rest):
    """Nor are the first programs of a large file, or of a large test, once they weigh."""

    def drop_if_heavy() -> None:
        if _memory() > _memory_at_rest[0] + 0.5:
            _drop_what_is_compiled()
            _memory_at_rest[0] = _memory()

    yield drop_if_heavy
    drop_if_heavy()


@pytest.fixture(scope="session")
def torchvision():
    """torchvision, or a skip where torch is not installed."""
    pytest.importorskip("torch")
    from tests.reference import vision

    try:
        return vision.torchvision()
    except ImportError:
        pytest.skip("needs torchvision")


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """Real weights and photographs, which are not part of the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data")
    return folder
