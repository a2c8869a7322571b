"""The running driver: assembly, loop, idle strategy, metrics, feed."""
