"""Sums over trials: on the threads of one process, and over several processes."""
