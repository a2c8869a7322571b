"""How a machine comes to life: what happens around the `__init__` that a user writes (H-041).

The initial step belongs behind the most derived `__init__`, whether or not that calls the base's.
So each class gets a constructor in place of its `__init__`: it prepares the machine, runs what the
user wrote, and takes the initial step. One that finds a machine of another class has been reached
by `super().__init__()`, and only runs what the user wrote.

A constructor is written for exactly one class, as one straight line with the parameters of the
user's function, when the first machine of the class is made. By then decorators such as `dataclass`
have put their `__init__` there, and a class that merely inherits one has got its own.

Calling `__init__` of a living machine constructs it anew, configuration included.
"""

from __future__ import annotations

import functools
import re
from types import CodeType, FunctionType
from typing import Any

from ..states import HANDLED
from .codegen import Script
from .nodes import Node
from .run_to_completion import NO_EVENT

_CONSTRUCTOR = "_hsm_constructor"
_CLASS = "c1"
_VARIADIC = ("*arguments", "**keywords")


def written_init(function: Any) -> Any:
    """What the user wrote behind a constructor; None when `function` is no constructor."""
    # functools.wraps copies attributes: one that speaks of another function says nothing here.
    constructor, written = getattr(function, _CONSTRUCTOR, (None, None))
    return written if constructor is function else None


def equip(cls: type) -> None:
    """Give a new class its constructor, or the means to make it later."""
    if "__init__" in vars(cls):
        replace_init(cls, vars(cls)["__init__"])
    elif written_init(_attribute(cls, "__init__")) is None:
        # A mixin brings an `__init__` that knows nothing of machines. It is not replaced here: a
        # `dataclass` decorator keeps what it finds in the class that it decorates.
        inherited: Any = cls.__new__
        type.__setattr__(cls, "__new__", staticmethod(_adopting(inherited)))


def replace_init(cls: type, value: Any) -> None:
    """Bind `__init__`: by a class body, or by an assignment to the class later on."""
    written = written_init(value) or _as_function(value)
    _bind(cls, written, _first_constructor(cls, written), inherited=False)
    _forget_inherited(cls)


def remove_init(cls: type) -> None:
    """Unbind `__init__`, as `del` of that attribute of the class does."""
    _retire(vars(cls)["__init__"])
    type.__delattr__(cls, "__init__")
    type.__delattr__(cls, "_hsm_init")
    type.__delattr__(cls, "_hsm_inherits_init")
    _forget_inherited(cls)


def _bind(cls: type, written: Any, constructor: Any, *, inherited: bool) -> None:
    _retire(vars(cls).get("__init__"))
    type.__setattr__(cls, "_hsm_init", written)
    type.__setattr__(cls, "_hsm_inherits_init", inherited)
    type.__setattr__(cls, "__init__", constructor)


def _retire(constructor: Any) -> None:
    """Have a constructor that is replaced only run what the user wrote: the new one may call it."""
    if written_init(constructor) is not None and constructor.__code__ is not _GENERAL:
        constructor.__globals__[_CLASS] = None


def _forget_inherited(cls: type) -> None:
    """Have the subclasses look up anew the `__init__` that they inherit."""
    derived: type
    for derived in type.__subclasses__(cls):
        if vars(derived).get("_hsm_inherits_init"):
            remove_init(derived)
        else:
            _forget_inherited(derived)


def _attribute(cls: type, name: str) -> Any:
    return next(vars(klass)[name] for klass in cls.__mro__ if name in vars(klass))


def _as_function(value: Any) -> Any:
    if isinstance(value, FunctionType):
        return value

    @functools.wraps(value)
    def bind_and_call(self: Any, *arguments: Any, **keywords: Any) -> None:
        bound = value.__get__(self, type(self)) if hasattr(value, "__get__") else value
        bound(*arguments, **keywords)

    return bind_and_call


def _marked(constructor: Any, written: Any) -> Any:
    functools.update_wrapper(constructor, written)
    setattr(constructor, _CONSTRUCTOR, (constructor, written))
    return constructor


def _first_constructor(owner: type, written: Any) -> Any:
    """The constructor of a class of which there is no machine yet."""

    def construct(self: Any, /, *arguments: Any, **keywords: Any) -> None:
        cls: Any = type(self)
        if cls._hsm_init is written:
            if cls._hsm_new is None:
                raise TypeError(f"{cls.__qualname__} is abstract; instantiate a concrete subclass")
        elif vars(owner).get("__init__") is construct:
            cls = owner
        else:
            written(self, *arguments, **keywords)
            return
        constructor = _write_constructor(cls, written, construct)
        inherited: bool = vars(cls).get("_hsm_inherits_init", True)
        _bind(cls, written, constructor, inherited=inherited)
        constructor(self, *arguments, **keywords)

    return _marked(construct, written)


_GENERAL = _first_constructor(object, lambda: None).__code__


def _adopting(inherited: Any) -> Any:
    """A `__new__` that makes a constructor of an `__init__` inherited from a plain mixin."""

    def create(cls: Any, /, *arguments: Any, **keywords: Any) -> Any:
        init = _attribute(cls, "__init__")
        if written_init(init) is None:
            written = _as_function(init)
            _bind(cls, written, _first_constructor(cls, written), inherited=True)
        if inherited is object.__new__:
            return object.__new__(cls)
        return inherited(cls, *arguments, **keywords)

    return create


def _write_constructor(cls: Any, written: Any, first: Any) -> Any:
    new = cls._hsm_new
    parameters, arguments = _parameters_of(written)
    script = _Constructor(parameters)
    own = None if new is None else cls
    script.add("if {}(m) is not {}:", type, own)  # the second operand is _CLASS
    script.add(f" if type(m)._hsm_init is {{}}: {{}}(m{arguments})", written, first)
    script.add(f" else: {{}}(m{arguments})", written)
    script.add(" return")
    if new is not None:
        _write_construction(script, new, written, arguments)
    constructor: Any = script.compile()
    constructor.__defaults__ = written.__defaults__
    constructor.__kwdefaults__ = written.__kwdefaults__
    return _marked(constructor, written)


def _write_construction(script: Script, new: Node, written: Any, arguments: str) -> None:
    script.add("m._hsm_node = {}", new)
    script.add("m._hsm_event = {}", NO_EVENT)
    script.add("m._hsm_due = {}", HANDLED)
    script.add(f"{{}}(m{arguments})", written)
    script.add("if m._hsm_node is not {}:", new)
    script.add(" {}(m)", _start_observed)
    script.add(" return")
    new.tables.routes.write_start(script)


def _start_observed(m: Any) -> None:
    """Take the initial step unless the machine is held, or was started by its `__init__`."""
    tables = m._hsm_node.tables
    if m._hsm_node is tables.new:
        tables.start(m, None)


class _Constructor(Script):
    """A script with the parameters of a user's `__init__` behind the machine."""

    def __init__(self, parameters: str) -> None:
        super().__init__()
        self.header = f"def plan(m{parameters}):"


def _parameters_of(written: FunctionType) -> tuple[str, str]:
    """The text of a function's parameters, and of the arguments that pass them on; without self."""
    code: CodeType = written.__code__
    positional = code.co_varnames[: code.co_argcount]
    keyword_only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    variadic = code.co_flags & (0x04 | 0x08)  # CO_VARARGS, CO_VARKEYWORDS
    taken = [name for name in (*positional[1:], *keyword_only) if re.fullmatch(r"m|c\d+", name)]
    if variadic or taken or code.co_posonlyargcount or not positional:
        text = ", " + ", ".join(_VARIADIC)
        return ", /" + text, text
    parameters = list(positional[1:])
    arguments = [*positional[1:], *(f"{name}={name}" for name in keyword_only)]
    if keyword_only:
        parameters += ["*", *keyword_only]
    return "".join(f", {one}" for one in parameters), "".join(f", {one}" for one in arguments)
