"""The conductor: the duty cycle of a client, and the thread that runs it."""
