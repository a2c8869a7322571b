"""How messages travel: the ports, Aeron, and a deterministic in-memory network."""
