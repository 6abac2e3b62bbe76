"""The learning rate with the lowest loss: per batch size, and the laws it follows."""
