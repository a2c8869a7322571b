"""The driver's machines and tables: every decision, no I/O."""
