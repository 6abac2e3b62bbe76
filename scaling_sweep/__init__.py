"""Measure how the largest stable learning rate of a model grows with batch size."""

__version__ = "0.1.0"
