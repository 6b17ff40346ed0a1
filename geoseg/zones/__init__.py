"""Areas that people name, laid exactly over class rasters."""
