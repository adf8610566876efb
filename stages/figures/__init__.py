"""The figures: statistics are computed elsewhere and only drawn here."""
