"""The configuration: records, keys, load, check, print."""
