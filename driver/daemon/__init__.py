"""The daemon as a process: signals, log, systemd, embedded in another program."""
