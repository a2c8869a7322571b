"""The SBE schema files: the one source of every message layout."""
