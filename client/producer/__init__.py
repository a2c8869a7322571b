"""The producing side: publish frames, loan slots, report progress."""
