"""What became of each scene of a batch: shared by all processes that work on it, on one computer or on several."""
