"""What every part shares: messages, regions, transport, errors, clock, counters."""
