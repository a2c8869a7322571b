"""Functions for what is known before the machine runs.

A transition between two known states is always the same sequence of calls, and the search for the
handler of an event in a known leaf always the same chain of tests. Both are written down as source
lines in which every object is a placeholder `c0`, `c1`, …. The text depends on the shape only, so a
shape is compiled once in a process; a function of that shape is a copy of its code with a namespace
of its own, in which the placeholders are the global names. The interpreter treats such names as
fast as constants, and unlike constants the garbage collector can follow them.

The code is copied because the interpreter specialises call sites per code object: functions that
shared one would keep undoing each other's specialisation.

Every function is `plan(m, arg)`: the machine, and the event's argument for a declarative edge or
the effect for a transition that a handler takes.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

from ..states import Outcome

type Plan = Callable[[Any, Any], Outcome]

_shapes: dict[str, CodeType] = {}


class Attribute(str):
    """The name of an attribute, as an operand."""

    __slots__ = ()


class Lines:
    """Source lines of one function, and the objects that they speak about."""

    header = "def plan(m, arg):"

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.operands: list[Any] = []

    def add(self, template: str, *operands: Any) -> None:
        """Append a line; the template has a pair of braces for each operand.

        An operand that is an `Attribute` stands for that attribute's name.
        """
        first = len(self.operands)
        names = [
            f"{'a' if isinstance(operand, Attribute) else 'c'}{first + i}"
            for i, operand in enumerate(operands)
        ]
        self.lines.append(template.format(*names))
        self.operands.extend(operands)

    def compile(self) -> Plan:
        """Return the function."""
        if not self.lines:
            self.lines.append("pass")
        body = "\n".join([self.header, *self.lines])
        shape = _shapes.get(body)
        if shape is None:
            shape = _shapes[body] = self._shape()
        names = {f"c{index}": operand for index, operand in enumerate(self.operands)}
        attributes = {
            f"a{index}": str(operand)
            for index, operand in enumerate(self.operands)
            if isinstance(operand, Attribute)
        }
        code_names = tuple(attributes.get(name, name) for name in shape.co_names)
        return FunctionType(shape.replace(co_names=code_names), names)

    def _shape(self) -> CodeType:
        source = "\n ".join([self.header, *self.lines])
        namespace: dict[str, Any] = {}
        # The lines are this package's own; what users wrote comes in as operands.
        exec(compile(source, "<state machine plan>", "exec"), namespace)
        code: CodeType = namespace["plan"].__code__
        return code


class Script(Lines):
    """A straight line of calls, protected from the commit point on."""

    def __init__(self) -> None:
        super().__init__()
        self._indent = ""
        self._node: Any = None

    def add(self, template: str, *operands: Any) -> None:
        self._settle_node()
        super().add(self._indent + template, *operands)

    def at(self, node: Any) -> None:
        """Make `node` the machine's; left out when nothing can see it before the next one."""
        self._node = node

    def commit(self) -> None:
        """Mark the commit point (H-161): what follows is protected, up to `protect`."""
        self.add("try:")
        self._indent = " "

    def protect(self, on_error: Callable[[Any], None]) -> None:
        """End the protected part: what it raises goes on after `on_error` has been called."""
        self._settle_node()
        if self.lines[-1] == "try:":
            self.add("pass")
        self._indent = ""
        self.add("except BaseException:")
        self.add(" {}(m)", on_error)
        self.add(" raise")

    def compile(self) -> Plan:
        self._settle_node()
        return super().compile()

    def _settle_node(self) -> None:
        if self._node is not None:
            node, self._node = self._node, None
            super().add(self._indent + "m._hsm_node = {}", node)
