"""Scores of predictions, their calibration, and the recovery of true coefficients."""
