"""The page of one run: one HTML file that needs no other file, no network and no server."""
