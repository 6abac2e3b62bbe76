"""How a gradient becomes a direction: pure update rules, written for one model."""
