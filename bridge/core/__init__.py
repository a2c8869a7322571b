"""The decisions of a bridge, without I/O: machines, and the plain code that moves chunks."""
