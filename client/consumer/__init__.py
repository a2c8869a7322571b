"""The consuming side: receive frames, read slots, count losses."""
