"""The psychometric function, and trials drawn from it."""
