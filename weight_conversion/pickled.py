"""A pickle reader that imports nothing and calls nothing.

Python's own unpickler is a small stack machine whose instructions can call any importable function. This one executes
the same instructions on plain values alone. A class or function named in the stream is a `Placeholder`; "calling" one
asks the caller's `construct`, which knows a few names and gives a placeholder for any other. Lists, tuples,
dictionaries, numbers, strings and bytes are built as they are. Of a dictionary only the entries with string keys are
kept, and of a set nothing, so that nothing but strings is ever hashed: hashing a tuple nested a million deep would
end the process.

References:
    The instruction set is documented in Python's `pickletools`, whose decoder is used; it never allocates more than
    the stream holds.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
_STRINGS = ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
_BYTES = ("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8")
_LITERALS = frozenset((*_NUMBERS, *_STRINGS, *_BYTES))
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True, eq=False, slots=True)
class Placeholder:
    """Stands for a class, a function, or whatever the stream would have made with it; it does nothing.

    Attributes:
        name: `module.name` in the stream.
    """

    name: str


Construct = Callable[[str, tuple[Any, ...]], Any]


def load(stream: Any, construct: Construct, persistent: Callable[[Any], Any]) -> Any:
    """Reads one pickle from a stream and leaves the stream behind it.

    Args:
        stream: has `read`, `readline` and `tell`, over bytes that are in memory or mapped (a claimed length beyond the
            end must not allocate).
        construct: `construct(name, args)`, the value of calling the named class or function.
        persistent: the value of a persistent id.

    Returns:
        The value; dictionaries have string keys only.

    Raises:
        Exception: of whatever kind, for a stream that is not a pickle.
    """
    machine = _Machine(construct, persistent)
    for opcode, argument, _ in pickletools.genops(stream):
        machine.execute(opcode.name, argument)
    return machine.stack.pop()


class _Machine:
    """The stack, the marks in it, and the memo."""

    def __init__(self, construct: Construct, persistent: Callable[[Any], Any]):
        self.construct = construct
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def execute(self, name: str, argument: Any) -> None:
        """One instruction."""
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            self.stack.append(tuple(self.popped(_TUPLES[name])))
        elif name in ("PROTO", "FRAME", "STOP"):
            pass
        else:
            action = getattr(self, f"do_{name.lower()}", None)
            if action is None:
                raise ValueError(f"pickle instruction {name}")
            action(argument)

    def popped(self, count: int) -> list[Any]:
        """The topmost values, removed from the stack."""
        if count > len(self.stack):
            raise ValueError("pickle takes more from its stack than is there")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def since_mark(self) -> list[Any]:
        """The values above the topmost mark, removed from the stack with the mark."""
        return self.popped(len(self.stack) - self.marks.pop())

    def call(self, function: Any, args: Any) -> None:
        """Pushes what a call would give."""
        if not isinstance(args, tuple):
            raise ValueError(f"pickle calls something with a {type(args).__name__}")
        name = function.name if isinstance(function, Placeholder) else type(function).__name__
        self.stack.append(_dictionary(args) if name in _DICTIONARIES else self.construct(name, args))

    # Values

    def do_global(self, argument: str) -> None:
        self.stack.append(Placeholder(argument.replace(" ", ".")))

    def do_stack_global(self, _: None) -> None:
        module, name = self.popped(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("pickle names a class by something that is not a string")
        self.stack.append(Placeholder(f"{module}.{name}"))

    def do_binpersid(self, _: None) -> None:
        self.stack.append(self.persistent(self.stack.pop()))

    def do_persid(self, argument: str) -> None:
        self.stack.append(self.persistent(argument))

    # Calls

    def do_reduce(self, _: None) -> None:
        self.call(*self.popped(2))

    do_newobj = do_reduce

    def do_newobj_ex(self, _: None) -> None:
        function, args, _ = self.popped(3)
        self.call(function, args)

    def do_inst(self, argument: str) -> None:
        self.call(Placeholder(argument.replace(" ", ".")), tuple(self.since_mark()))

    def do_obj(self, _: None) -> None:
        function, *args = self.since_mark()
        self.call(function, tuple(args))

    def do_build(self, _: None) -> None:
        """The state of an object, which no value here has (a state dict's is its version numbers)."""
        self.stack.pop()

    # Containers

    def do_empty_list(self, _: None) -> None:
        self.stack.append([])

    def do_list(self, _: None) -> None:
        self.stack.append(self.since_mark())

    def do_append(self, _: None) -> None:
        self.extend(self.popped(1))

    def do_appends(self, _: None) -> None:
        self.extend(self.since_mark())

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Placeholder):
            raise ValueError(f"pickle appends to a {type(target).__name__}")

    def do_tuple(self, _: None) -> None:
        self.stack.append(tuple(self.since_mark()))

    def do_empty_dict(self, _: None) -> None:
        self.stack.append({})

    def do_dict(self, _: None) -> None:
        values = self.since_mark()
        self.stack.append({})
        self.update(values)

    def do_setitem(self, _: None) -> None:
        self.update(self.popped(2))

    def do_setitems(self, _: None) -> None:
        self.update(self.since_mark())

    def update(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, dict):
            target.update(_string_keys(zip(values[::2], values[1::2], strict=True)))
        elif not isinstance(target, Placeholder):
            raise ValueError(f"pickle sets an item of a {type(target).__name__}")

    def do_empty_set(self, _: None) -> None:
        self.stack.append(Placeholder("builtins.set"))

    def do_additems(self, _: None) -> None:
        self.since_mark()

    def do_frozenset(self, _: None) -> None:
        self.since_mark()
        self.stack.append(Placeholder("builtins.frozenset"))

    # Stack and memo

    def do_mark(self, _: None) -> None:
        self.marks.append(len(self.stack))

    def do_pop(self, _: None) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def do_pop_mark(self, _: None) -> None:
        self.since_mark()

    def do_dup(self, _: None) -> None:
        self.stack.append(self.stack[-1])

    def do_put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    do_binput = do_long_binput = do_put

    def do_memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def do_get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    do_binget = do_long_binget = do_get


_DICTIONARIES = frozenset(
    f"{module}.{name}"
    for module, name in (("collections", "OrderedDict"), ("builtins", "dict"), ("__builtin__", "dict"))
)


def _dictionary(args: tuple[Any, ...]) -> dict[str, Any]:
    """`OrderedDict()` or, as Python 2 wrote it, `OrderedDict([[key, value], ...])`."""
    return dict(_string_keys(args[0])) if args else {}


def _string_keys(pairs: Any) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in pairs if isinstance(key, str)]
