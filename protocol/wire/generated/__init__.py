"""Generated from schemas/*.xml by `make schemas`; do not edit."""
