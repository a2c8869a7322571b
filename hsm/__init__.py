"""Hierarchical state machines: a class whose body is its statechart.

States are attributes, what they do about events is declared by decorators, and the whole chart is
checked when the class statement ends. A machine runs each event to completion before `dispatch`
returns, takes no second event meanwhile, and is faulted when an exception has left it half way.

>>> class Door(Machine):
...     Closed = State()
...     Unlocked = State(parent=Closed)
...     Locked = State(parent=Closed)
...     Open = State()
...
...     begin = on_initial(ROOT, target=Closed)
...     unlocked = on_initial(Closed, target=Unlocked)
...     pull = on_event(Unlocked, "pull", target=Open)
...     push = on_event(Open, "push", target=Closed)
...     lock = on_event(Unlocked, "turn", target=Locked)
...
...     @on_event(Locked, "turn", targets=Unlocked)
...     def _unlock(self, key):
...         if key != "brass":
...             return UNHANDLED
...         return self.transition(self.Unlocked)
>>> door = Door()
>>> door.dispatch("turn"), door.current
(HANDLED, State('Locked'))
>>> door.dispatch("turn", "iron"), door.dispatch("pull"), door.is_in(door.Closed)
(UNHANDLED, UNHANDLED, True)
>>> door.dispatch("turn", "brass"), door.current
(HANDLED, State('Unlocked'))
"""

from ._definition.introspection import Edge, Finding
from ._definition.paths import Path, paths
from .coverage import Coverage
from .declarations import (
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_history_default,
    on_initial,
    on_timeout,
)
from .errors import DefinitionError, DispatchError, HsmError, TransitionError
from .machine import Machine
from .observers import LoggingObserver
from .runner import Runner
from .states import (
    ANY,
    DEEP,
    DEFERRED,
    HANDLED,
    ROOT,
    SHALLOW,
    UNHANDLED,
    Final,
    History,
    Outcome,
    Region,
    State,
    Terminate,
)
from .tracing import observed_by

__all__ = [
    "ANY",
    "DEEP",
    "DEFERRED",
    "HANDLED",
    "ROOT",
    "SHALLOW",
    "UNHANDLED",
    "Coverage",
    "DefinitionError",
    "DispatchError",
    "Edge",
    "Final",
    "Finding",
    "History",
    "HsmError",
    "LoggingObserver",
    "Machine",
    "Outcome",
    "Path",
    "Region",
    "Runner",
    "State",
    "Terminate",
    "TransitionError",
    "observed_by",
    "on_completion",
    "on_entry",
    "on_event",
    "on_exit",
    "on_history_default",
    "on_initial",
    "on_timeout",
    "paths",
]
