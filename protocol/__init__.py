"""The foundation of all parts: messages, regions, transport, errors, clock, counters."""
