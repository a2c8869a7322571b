"""Shared-memory regions: URIs, files, superblocks, slots."""
