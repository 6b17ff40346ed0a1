"""How good a map is: figures from maps and from samples, without files."""
