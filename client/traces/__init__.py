"""Traces of a pool, by listening: which frames belong to one trace, which traces to another."""
