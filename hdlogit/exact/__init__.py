"""The exact fit: the minimum of the loss, and whether it exists."""
