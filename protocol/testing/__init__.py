"""A simulated network with faults, for tests without Aeron."""
