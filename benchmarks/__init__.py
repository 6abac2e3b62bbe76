"""Figures against peers and against known answers; each module is a command that prints a table."""
