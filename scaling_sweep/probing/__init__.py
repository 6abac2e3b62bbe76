"""Looks at a task before a sweep is spent on it, and says what it found."""
