"""Sums over trials, on threads."""
