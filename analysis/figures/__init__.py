"""Pictures of a fit: in each file one function computes the numbers and another draws them."""
