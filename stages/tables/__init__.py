"""What `evaluate` writes: a function for each file and each section of metrics.json; none touches a file."""
