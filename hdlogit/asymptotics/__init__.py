"""What to expect of a fit with many factors per trial: the theory, before any data."""
