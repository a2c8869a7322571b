"""The daemon that owns shared-memory tensor pools."""
