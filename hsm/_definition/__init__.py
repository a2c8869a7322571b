"""The definition of a machine class: chart, checks, inheritance."""
