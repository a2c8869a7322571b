"""Streams by name: questions to the driver, listening, and changes as they happen."""
