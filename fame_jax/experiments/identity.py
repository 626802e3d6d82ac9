"""What a run's manifest has of its network."""

from typing import Any

from fame_jax.architectures import Precision
from fame_jax.identity import identity
from fame_jax.models import find, installed


def network_identity(network: Any, name: str, precision: Precision = "float32") -> str:
    """What a run's manifest has of its network: the hash of its publisher's file, or `identity` of one's own.

    A network is its publisher's if it is, parameters and code, what is installed under that name.

    Raises:
        IdentityError: see `identity`.
    """
    own = identity(network)
    if installed(name) is None:
        return own
    found = find(name, precision=precision)
    return found.card.sha256 if identity(found.network) == own else own
