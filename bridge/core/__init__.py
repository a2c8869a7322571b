"""What a bridge decides, without I/O: machines, and the plain code that moves chunks."""
