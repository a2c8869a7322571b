"""The HTTP pages of a bridge: `/`, `/status.json`, `/metrics` (B-161); off without an address."""

from __future__ import annotations

from .server import PagesUnavailableError, serve_pages, split_address

__all__ = ["PagesUnavailableError", "serve_pages", "split_address"]
