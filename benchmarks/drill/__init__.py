"""Faults on purpose, one file each: what becomes of a sweep when something dies, hangs or jumps."""
