"""Pairs and larger sets of frames that belong together, by sequence or by time."""
