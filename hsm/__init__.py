"""Hierarchical state machines."""
