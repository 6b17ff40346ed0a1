"""Products: what the folders and archives of data providers hold, and what their numbers mean."""
