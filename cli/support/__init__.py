"""Shared parts of the commands: connection options, exit status, signals."""
