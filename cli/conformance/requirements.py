"""The requirements that the kit does not report, each with the reason.

Every D- and W- requirement of the specification is either in a check or here; a test compares.
"""

from __future__ import annotations

__all__ = ["NOT_REPORTED"]

_INSIDE = "It is a rule for the inside of a program; its effects are reported by other checks."
_RESTART = "It shows at a start or restart of the driver, which the kit does not control."
_CONFIG = "It is about the configuration or the command line of our own programs."
_API = "It is about the interface to the application, which no stream or file shows."
_FILES = "It is about old files and free space; the kit neither fills the disk nor waits for that."
_PRESSURE = "It shows only when a stream is full, which harms every other user of the media driver."
_HOST = "It is about hosts, processors or mounts other than this one."
_OPTIONAL = "It is optional, and the program under test shows no sign of it on a stream."
_ASKED = "It applies to consumers that are configured for it, which the kit cannot do from outside."
_CREATOR = "It is about the making of files; the result is reported by the checks of regions."
_ONCE = "A run stops the driver once, with a lease that lives; this needs another kind of stop."
_CONNECTIONS = "It is about connections within the media driver, which no message shows."
_SECOND = "It is about a second driver on the same tree or streams, which the kit does not start."

NOT_REPORTED: dict[str, tuple[str, ...]] = {
    _INSIDE: (
        *("D-010", "D-011", "D-012", "D-013", "D-014", "D-015", "D-017", "D-020", "D-030"),
        *("D-031", "D-032", "D-033", "D-040", "D-050", "D-063", "D-064", "D-072", "D-073"),
        *("D-086", "D-092", "D-122", "D-186", "D-193", "W-066", "W-085"),
        *("W-112", "W-240"),
    ),
    _RESTART: ("D-099", "D-100", "D-101", "D-102", "D-103", "D-104", "D-146", "D-144"),
    _CONFIG: (
        *("D-004", "D-180", "D-181", "D-182", "D-183", "D-184", "D-192", "W-016", "W-031"),
        *("W-230", "W-231", "D-195", "D-196", "D-197", "D-198", "D-199"),
    ),
    _API: (
        *("D-089", "D-097", "D-185", "D-190", "D-191", "D-194", "W-079", "W-084", "W-092"),
        *("W-089", "W-201", "W-224"),
    ),
    _FILES: (
        *("D-113", "D-118", "D-119", "D-121", "D-124", "D-125", "D-126", "D-127", "D-128"),
        *("D-151", "D-164", "W-018"),
    ),
    _PRESSURE: (
        *("D-066", "D-091", "D-171", "D-172", "D-173", "D-174", "D-175", "D-176", "W-008"),
    ),
    _HOST: ("W-005", "W-022", "W-032", "W-046", "W-086"),
    _OPTIONAL: (
        *("W-041", "W-181", "W-182", "W-195", "W-196", "W-197", "W-198", "W-199", "W-203"),
    ),
    _ASKED: ("W-110", "W-171", "W-172", "W-184", "W-185", "W-186", "W-187"),
    _CREATOR: ("D-114", "W-014", "W-034", "W-213", "W-222"),
    _ONCE: ("D-022", "D-142", "D-145"),
    _CONNECTIONS: ("W-009",),
    _SECOND: ("D-003", "D-006"),
}
