"""Functions for what is known before the machine runs.

A transition between two known states is always the same sequence of calls, and the search for the
handler of an event in a known leaf always the same chain of tests. Both are written down as source
lines in which every object is a placeholder `c0`, `c1`, …; the objects come in through a closure.
The text depends on the shape only, so all sequences of one shape share one factory: a new shape
costs one `exec` in a process, a further function of that shape costs a call.

Every function is `plan(m, arg)`: the machine, and the event's argument for a declarative edge or
the effect for a transition that a handler takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .states import Outcome

type Plan = Callable[[Any, Any], Outcome]

_factories: dict[str, Callable[..., Plan]] = {}


class Lines:
    """Source lines of one function, and the objects that they speak about."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.operands: list[Any] = []

    def add(self, template: str, *operands: Any) -> None:
        """Append a line; the template has a pair of braces for each operand."""
        first = len(self.operands)
        names = [f"c{first + i}" for i in range(len(operands))]
        self.lines.append(template.format(*names))
        self.operands.extend(operands)

    def compile(self) -> Plan:
        """Return the function."""
        if not self.lines:
            self.lines.append("pass")
        body = "\n".join(self.lines)
        factory = _factories.get(body)
        if factory is None:
            factory = _factories[body] = self._factory()
        return factory(*self.operands)

    def _factory(self) -> Callable[..., Plan]:
        parameters = ", ".join(f"c{i}" for i in range(len(self.operands)))
        body = "\n".join(f"        {line}" for line in self.lines)
        source = f"def factory({parameters}):\n    def plan(m, arg):\n{body}\n    return plan"
        namespace: dict[str, Any] = {}
        exec(source, namespace)  # the lines are this package's own; users' objects are operands
        factory: Callable[..., Plan] = namespace["factory"]
        return factory


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
        """Mark the commit point (H-161): what follows is protected by `finish(on_error=…)`."""
        self.add("try:")
        self._indent = " "

    def finish(self, result: Any, on_error: Callable[[Any, Any], None]) -> Plan:
        """Return the function; what it raises behind the commit point goes to `on_error` first."""
        self._settle_node()
        if self.lines[-1] == "try:":
            self.add("pass")
        self._indent = ""
        self.add("except BaseException:")
        self.add(" {}(m, arg)", on_error)
        self.add(" raise")
        self.add("return {}", result)
        return self.compile()

    def compile(self) -> Plan:
        self._settle_node()
        return super().compile()

    def _settle_node(self) -> None:
        if self._node is not None:
            node, self._node = self._node, None
            super().add(self._indent + "m._hsm_node = {}", node)
