"""Networks of one's own, of whatever library: found by `module:attribute`, and made into what commands call."""

import importlib
import importlib.util
import inspect
import os
import pathlib
import sys
from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
from flax import nnx

from fame_jax.architectures import Precision, with_precision
from fame_jax.models.adapted import Keras, adapted
from fame_jax.models.card import Card
from fame_jax.models.load import Loaded


class OwnNetworkError(ValueError):
    """A network of one's own that is not there, is none, or is not ready."""


def imported(spec: str) -> Any:
    """What `package.module:attribute` or `file.py:attribute` names, found from the current folder; its code is run.

    Raises:
        OwnNetworkError: if there is no such module or attribute, or its code fails.
    """
    module_name, _, attribute = spec.rpartition(":")
    is_file = module_name.endswith(".py")
    place = pathlib.Path(module_name).resolve().parent if is_file else pathlib.Path.cwd()
    if is_file and not os.path.isfile(module_name):
        raise OwnNetworkError(f"{module_name}: no such file; expected Python code with {attribute!r}.")
    sys.path.insert(0, str(place))
    try:
        module = _run_file(module_name) if is_file else importlib.import_module(module_name)
        return reduce(getattr, attribute.split("."), module)
    except AttributeError as error:
        raise OwnNetworkError(f"{spec}: {error}; expected a network, or a function that makes one.") from error
    except Exception as error:
        raise OwnNetworkError(f"{spec}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(place))


def loaded(value: Any, card: Card | None = None, precision: Precision = "float32") -> Loaded:
    """A network of one's own and its card.

    Args:
        value: a network, a function or class without required arguments that makes one, or a pair of one and its card.
        card: in place of the pair's.
        precision: to compute in.

    Raises:
        OwnNetworkError: if it is no network that JAX can trace, or is in training mode.
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
    if in_training(network):
        raise OwnNetworkError(
            f"{kind.__name__} is in training mode, so that its outputs depend on chance or on the batch; call "
            "network.eval() first (Equinox: equinox.nn.inference_mode(network))."
        )


def in_training(network: Any) -> bool:
    """Whether dropout or batch statistics of an NNX or Equinox network are those of training."""
    if isinstance(network, nnx.Module):
        modes = [(getattr(m, "deterministic", None), getattr(m, "rate", 1)) for _, m in nnx.iter_modules(network)]
        statistics = [getattr(module, "use_running_average", None) for _, module in nnx.iter_modules(network)]
        return any(mode is False and rate != 0 for mode, rate in modes) or False in statistics

    def trains(node: Any) -> bool:
        return getattr(node, "inference", None) is False

    return any(map(trains, jax.tree.leaves(network, is_leaf=trains)))


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
