"""Logistic regression whose coefficients can be trusted: exact fits, and what theory and data say of them."""
