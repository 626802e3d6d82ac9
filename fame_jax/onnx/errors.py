"""What can be wrong with an ONNX file, in one line that names the node."""

from collections.abc import Mapping, Sequence


class GraphError(ValueError):
    """A graph that is damaged, unsafe, or not one of an image."""

    def __init__(self, message: str):
        """One line, also where names in the file have several."""
        super().__init__(" ".join(message.splitlines()))


class MissingOperatorsError(GraphError):
    """Operators that the reader does not know, all of them at once.

    Attributes:
        missing: operator to the nodes that need it.
    """

    def __init__(self, source: str, missing: Mapping[str, Sequence[str]]):
        """One line for all.

        Args:
            source: the file.
            missing: operator to the names of its nodes.
        """
        self.missing = missing
        listed = "; ".join(f"{operator} ({_few(nodes)})" for operator, nodes in missing.items())
        super().__init__(
            f"{source}: operators without an implementation here: {listed}; "
            "name outputs that do not need them: output=..."
        )


def _few(names: Sequence[str], count: int = 5) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
