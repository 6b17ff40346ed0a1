"""How good a map is: from maps and from samples of them, without files."""
