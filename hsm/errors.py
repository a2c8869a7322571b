"""The exceptions of the framework (H-164)."""

from __future__ import annotations


class HsmError(Exception):
    """Base of every error that the framework itself raises."""


class DefinitionError(HsmError):
    """A machine class is defective; its class statement does not succeed (H-007).

    `problems` holds one text per mistake: what is wrong, where (file and line) and what to do.
    """

    def __init__(self, subject: str, problems: tuple[str, ...]) -> None:
        count = "a mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        super().__init__("\n  - ".join([f"{subject} has {count}:", *problems]))
        self.subject = subject
        self.problems = problems

    def __reduce__(self) -> tuple[type[DefinitionError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.subject, self.problems)


class DispatchError(HsmError):
    """A driving call at the wrong time, or a handler that answered with a wrong value."""


class TransitionError(HsmError):
    """An in-handler call at the wrong place or time, or one that was not declared."""
