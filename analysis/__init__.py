"""Edges, laws, intervals and checks: everything that reads rows and trains nothing."""
