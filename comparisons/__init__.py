"""Checks of a change, and comparison of experiments."""
