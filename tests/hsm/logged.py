"""A family base whose machines log what they enter, leave and run."""

from collections.abc import Callable
from typing import Any

from tensor_pool.hsm import ANY, Machine, State, on_entry, on_exit


class Logged(Machine, abstract=True):
    """Logs `+state`, `-state`, and what its functions `note`."""

    def __init__(self, **keywords: Any) -> None:
        self.log: list[str] = []
        super().__init__(**keywords)

    @on_entry(ANY)
    def _log_entry(self, state: State) -> None:
        self.log.append(f"+{state.name}")

    @on_exit(ANY)
    def _log_exit(self, state: State) -> None:
        self.log.append(f"-{state.name}")

    def note(self, text: str) -> None:
        self.log.append(text)

    def noting(self, text: str) -> Callable[[], None]:
        """An effect for the in-handler calls."""
        return lambda: self.log.append(text)

    def taken(self) -> str:
        """The log since the last call, as one string."""
        text = " ".join(self.log)
        self.log.clear()
        return text


class Trace:
    """An observer that writes down every hook with its arguments."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("trace_"):
            raise AttributeError(name)

        def write(machine: Machine, *arguments: Any) -> None:
            shown = [a.name if isinstance(a, State) else repr(a) for a in arguments]
            self.lines.append(f"{name.removeprefix('trace_')} {' '.join(shown)}")

        return write

    def taken(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines
