"""Networks of one's own, of whatever library: found by `module:attribute`, and made into what commands call."""

import contextlib
import importlib
import importlib.util
import inspect
import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

from flax import nnx

from fame_jax.architectures import Precision, with_precision
from fame_jax.models.adapted import Keras, adapted
from fame_jax.models.card import Card
from fame_jax.models.load import Loaded
from fame_jax.network import refuse_training
from fame_jax.words import did_you_mean


class OwnNetworkError(ValueError):
    """A network of one's own that is not there, is none, or is not ready."""


def located(spec: str, card: Card | None = None, precision: Precision = "float32") -> Loaded:
    """The network that `package.module:attribute` or `file.py:attribute` names; see `imported` and `loaded`."""
    with _importable(spec):
        return loaded(imported(spec), card, precision)


def imported(spec: str) -> Any:
    """What `package.module:attribute` or `file.py:attribute` names, found from the current folder; its code is run.

    Raises:
        OwnNetworkError: if there is no such module or attribute, or its code fails.
    """
    module_name, _, attribute = spec.rpartition(":")
    is_file = module_name.endswith(".py")
    if not module_name or not attribute:
        raise OwnNetworkError(f"{spec}: expected package.module:name or file.py:name.")
    if is_file and not os.path.isfile(module_name):
        raise OwnNetworkError(f"{module_name}: no such file; expected Python code with {attribute!r}.")
    # Keras chooses its backend once, when it is imported.
    os.environ.setdefault("KERAS_BACKEND", "jax")
    try:
        with _importable(spec):
            module = _run_file(module_name) if is_file else importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise OwnNetworkError(f"{spec}: {type(error).__name__}: {error}{_hint(spec, error)}") from error
    try:
        return reduce(getattr, attribute.split("."), module)
    except AttributeError as error:
        names = [n for n, value in vars(module).items() if not n.startswith("_") and not inspect.ismodule(value)]
        raise OwnNetworkError(
            f"{module_name} has no {attribute!r}{f'; {did_you_mean(attribute, names)}' if names else '.'} Expected a "
            "network, or a function that makes one."
        ) from error


def _hint(spec: str, error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "; its code has ended the program. Put what a script does behind `if __name__ == '__main__':`."
    if "relative import" in str(error):
        module = ".".join(pathlib.PurePath(spec.rpartition(":")[0]).with_suffix("").parts)
        return f"; give it as a module of its package, such as {module}:{spec.rpartition(':')[2]}."
    return ""


@contextlib.contextmanager
def _importable(spec: str) -> Iterator[None]:
    """Modules beside the file of a spec, and in the current folder, can be imported."""
    places = [os.path.dirname(os.path.abspath(spec.rpartition(":")[0])), os.getcwd()]
    sys.path[:0] = places
    try:
        yield
    finally:
        for place in places:
            with contextlib.suppress(ValueError):
                sys.path.remove(place)


def loaded(value: Any, card: Card | None = None, precision: Precision = "float32") -> Loaded:
    """A network of one's own and its card.

    Args:
        value: a network, a function or class without required arguments that makes one, or a pair of one and its card.
        card: in place of the pair's.
        precision: to compute in.

    Raises:
        OwnNetworkError: if it is no network that JAX can trace.
        NetworkError: if it is in training mode.
    """
    value = _made(value)
    if isinstance(value, tuple) and len(value) == 2 and not hasattr(value, "apply"):
        pair = sorted(value, key=lambda one: not isinstance(one, Card))
        if not isinstance(pair[0], Card):
            raise OwnNetworkError("a pair without a card; expected (network, fame_jax.models.Card(...)).")
        card, value = card or pair[0], _made(pair[1])
    check(value)
    name = getattr(value, "__name__", None) or type(value).__name__
    card = card or Card(name, "class", size=224, resize=256, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), score="logit")
    if hasattr(value, "stateless_call"):
        value = Keras.of(value)
    if isinstance(value, nnx.Module) and precision != "bfloat16":
        return Loaded(card, with_precision(value, precision))
    return Loaded(card, adapted(value, precision))


def check(network: Any) -> None:
    """Refuses what is no network of JAX, or computes another thing in training than in use.

    Raises:
        OwnNetworkError: naming the type, and what to do.
        NetworkError: for a network in training mode.
    """
    kind = type(network)
    if any(base.__module__.split(".")[0] == "torch" for base in kind.__mro__):
        raise OwnNetworkError(f"{kind.__name__} is a PyTorch module; convert its state_dict with `fame convert`.")
    if hasattr(network, "apply") and hasattr(network, "init") and not callable(getattr(network, "features", None)):
        raise OwnNetworkError(
            f"{kind.__name__} holds no parameters; give jax.tree_util.Partial(network.apply, parameters)."
        )
    if not callable(network):
        raise OwnNetworkError(f"a {kind.__name__} is no network; expected a callable of one image.")
    refuse_training(network)


def _made(value: Any) -> Any:
    """What a function or class makes that can be called without arguments; anything else as it is."""
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return value
    parameters = inspect.signature(value).parameters.values()
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [p.name for p in parameters if p.default is p.empty and p.kind not in variable]
    if not required:
        return _called(value)
    if inspect.isclass(value):
        raise OwnNetworkError(f"the class {value.__name__} needs {', '.join(required)}; give a network made of it.")
    return value


def _called(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:
        raise OwnNetworkError(f"{getattr(make, '__name__', make)}(): {type(error).__name__}: {error}") from error


def _run_file(path: str) -> Any:
    name = f"fame_own_{pathlib.Path(path).stem}"
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    # Where classes look up their own module.
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module
