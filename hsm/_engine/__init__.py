"""The engine: nodes, dispatch tables, transition plans, steps."""
