"""What to set for a batch size that was not measured."""
