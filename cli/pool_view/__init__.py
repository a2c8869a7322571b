"""A passive view of a pool: listen, collect, tabulate."""
