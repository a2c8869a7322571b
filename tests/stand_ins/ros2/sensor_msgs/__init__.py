"""A stand-in for the messages of sensors."""
