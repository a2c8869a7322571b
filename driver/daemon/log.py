"""The daemon's log: one line an event on stderr, for people or for machines.

Code of the driver logs through `logging` as usual and gives details as `extra`; both forms show
them behind the message. Nothing is configured at import, so an application that embeds the driver
keeps its own logging.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TextIO

import msgspec

__all__ = ["LOG_FORMATS", "LOG_LEVELS", "HumanFormatter", "JsonFormatter", "configure_logging"]

LOG_FORMATS = ("auto", "human", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")

# Attributes of every record; others were given as `extra`.
_STANDARD = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}
)
_TERMINAL_COLORS = {"WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}


def _details(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, then the details."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _iso_time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_details(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class HumanFormatter(logging.Formatter):
    """`12:30:01.250 INFO  message  name=value …`, the level coloured on a terminal."""

    def __init__(self, *, color: bool = False) -> None:
        super().__init__()
        self._color = color

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = f"{record.levelname:<7}"
        if self._color and record.levelname in _TERMINAL_COLORS:
            level = f"\x1b[{_TERMINAL_COLORS[record.levelname]}m{level}\x1b[0m"
        details = "".join(f"  {name}={value}" for name, value in _details(record).items())
        message = _on_one_line(record.getMessage() + details)
        text = f"{clock}.{int(record.msecs):03d} {level} {message}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def _on_one_line(text: str) -> str:
    """Text from outside must not start a line of its own nor steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def configure_logging(form: str, level: str, stream: TextIO | None = None) -> None:
    """Send everything at `level` and above to `stream`, default stderr.

    `auto` is the human form on a terminal and JSON lines otherwise.
    """
    stream = sys.stderr if stream is None else stream
    on_terminal = stream.isatty()
    if form == "auto":
        form = "human" if on_terminal else "json"
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if form == "json" else HumanFormatter(color=on_terminal))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # The HTTP server's own start and stop are of no interest beside the driver's.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _iso_time(seconds: float) -> str:
    whole, fraction = divmod(seconds, 1)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int(fraction * 1e6):06d}Z"
