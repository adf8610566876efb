"""The figures: statistics come from elsewhere, here they are only drawn."""
