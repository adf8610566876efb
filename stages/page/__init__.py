"""The page of one run: one HTML file that needs no other, no network and no server."""
