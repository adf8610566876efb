"""What one exact fit says of its own coefficients: corrections, intervals, tests."""
