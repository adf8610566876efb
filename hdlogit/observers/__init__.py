"""Several observers: the mean of their weights, and how much they differ."""

from hdlogit.observers.population import Population, population

__all__ = ["Population", "population"]
