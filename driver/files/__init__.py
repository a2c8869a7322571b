"""Region files: provision, retire, collect, lock."""
