"""Curvature of a loss at a point: what the theories of the largest learning rate ask for."""
