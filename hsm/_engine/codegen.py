"""The compiled functions of plans and searches, for all that is fixed before the machine runs.

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


class Lines:
    """Source lines of one function, and the objects that they refer to."""

    header = "def plan(m, arg):"

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.operands: list[Any] = []

    def add(self, template: str, *operands: Any) -> None:
        """Append a line; the template has a pair of braces for each operand."""
        first = len(self.operands)
        self.lines.append(template.format(*(f"c{first + i}" for i in range(len(operands)))))
        self.operands.extend(operands)

    @property
    def text(self) -> str:
        """The source of the function."""
        return "\n ".join([self.header, *(self.lines or ["pass"])])

    def compile(self) -> Plan:
        """Return the function."""
        text = self.text
        shape = _shapes.get(text)
        if shape is None:
            namespace: dict[str, Any] = {}
            # The lines are this package's own; what users wrote comes in as operands.
            exec(compile(text, "<state machine plan>", "exec"), namespace)
            shape = _shapes[text] = namespace["plan"].__code__
        names = {f"c{index}": operand for index, operand in enumerate(self.operands)}
        return FunctionType(shape.replace(), names)


class Script(Lines):
    """A straight line of calls, protected from the commit point on.

    The machine's node and source are stored where user code can look, and at the end, unless they
    are there already (H-085).

    Args:
        node: the machine's node when the script begins, if that is known.

    Attributes:
        argument: the text of the event's argument, for entry and exit handlers that take it.
        stores_source: whether a line stores another source than that at the beginning.
    """

    def __init__(self, node: Any = None) -> None:
        super().__init__()
        self._indent = ""
        self.argument = "arg"
        self.stores_source = False
        self._node: Any = None
        self._stored: Any = node
        self._source: Any = None

    def add(self, template: str, *operands: Any) -> None:
        """Append a line of the engine, in which no user code runs."""
        super().add(self._indent + template, *operands)

    def user(self, template: str, *operands: Any) -> None:
        """Append a line that runs user code: it finds the active configuration."""
        self.settle()
        self._settle_source()
        self.add(template, *operands)

    def user_if(self, condition: str, call: str) -> None:
        """Append user code that runs under a condition; the node is stored only for it."""
        self._settle_source()
        node, stored, block = self._node, self._stored, self.block
        self.begin(f"if {condition}:")
        self.settle()
        self.add(call)
        self._indent = block
        if node is not None and node is not stored:
            self._node, self._stored = node, None

    def plan(self, template: str, *operands: Any) -> None:
        """Append a line that runs another plan, which may leave the machine at any node."""
        self.user(template, *operands)
        self._stored = None

    def at(self, node: Any) -> None:
        """Make `node` the machine's; left out when nothing can see it before the next one."""
        if self._node is not None and self._node.home != node.home:
            self.settle()
        self._node = node

    def source(self, activation: Any) -> None:
        """Make `activation` the one that user code runs under; left out when none runs."""
        self._source = activation

    def settle(self) -> None:
        """Store the node."""
        node, self._node = self._node, None
        if node is None or node is self._stored:
            return
        if node.home is None:
            self.add("m._hsm_node = {}", node)
        else:
            self.add("m._hsm_memory[{}][{}] = {}", *node.home, node)
        # With regions there are several places, and entering a state empties some of them.
        self._stored = None if node.tables.memories.regions else node

    def _settle_source(self) -> None:
        if self._source is not None:
            source, self._source = self._source, None
            self.add("m._hsm_active = {}", source)
            self.stores_source = True

    @property
    def block(self) -> str:
        """The block that lines are added to."""
        return self._indent

    def begin(self, template: str, *operands: Any) -> None:
        """Append the head of a block, to which the lines belong that follow."""
        self.add(template, *operands)
        self._indent += " "

    def end(self, block: str) -> None:
        """Go back to an outer block."""
        if self._indent != block:
            self.settle()
            if self.lines[-1].endswith(":"):
                self.add("pass")
            self._indent = block

    def commit(self) -> None:
        """Mark the commit point (H-161): what follows is protected, up to `protect`."""
        self.add("try:")
        self._indent = " "

    def protect(self, on_error: Callable[[Any], None], *cleanup: Any) -> None:
        """End the protected part: what it raises goes on after `on_error` has been called.

        Args:
            cleanup: a line that runs in both cases, with its operands.
        """
        self.settle()
        if self.lines[-1] == "try:":
            self.add("pass")
        self._indent = ""
        self.add("except BaseException:")
        self.add(" {}(m)", on_error)
        if cleanup:
            template, *operands = cleanup
            self.add(f" {template}", *operands)
            self.add(" raise")
            self.add(template, *operands)
        else:
            self.add(" raise")

    def compile(self) -> Plan:
        self.settle()
        return super().compile()
