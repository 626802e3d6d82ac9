"""Random choices that a seed and names decide, and nothing else.

Names are ordered by a hash of theirs and the seed. So a choice is the same on every machine and with every version of
NumPy, and a name that is no candidate any more changes nothing but its own place.
"""

import hashlib
from collections.abc import Iterable, Sequence

from fame_jax.data.records import PairRecord, Picture


def shuffled(names: Iterable[str], seed: int, purpose: str = "") -> list[str]:
    """Names in a random order.

    Args:
        names: distinct; their own order does not matter.
        seed: of the order.
        purpose: other purposes give other, independent orders.
    """
    return sorted(names, key=lambda name: (hashlib.sha256(f"{seed} {purpose} {name}".encode()).digest(), name))


def with_impostors(
    genuine: Sequence[PairRecord], galleries: dict[str, Picture], persons: Sequence[str], seed: int
) -> list[PairRecord]:
    """Genuine pairs, and as many impostor pairs: each probe again, with the gallery face of another person.

    Args:
        genuine: pairs of one person each.
        galleries: the gallery face of each person.
        persons: whose pair each genuine one is, in the same order.
        seed: of the choice of other persons.

    Returns:
        All genuine pairs, then all impostor pairs, named after their probe and the other person; fewer where there is
        no other person.
    """
    impostors = []
    for record, person in zip(genuine, persons, strict=True):
        others = shuffled(galleries.keys() - {person}, seed, record.name)[:1]
        impostors += [
            PairRecord(f"{record.name} as {other}", record.probe, galleries[other], False) for other in others
        ]
    return [*genuine, *impostors]
