"""One pack: stacked parameters, a learning rate for each copy, one loop; needs torch, never Ray."""
