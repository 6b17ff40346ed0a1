"""How good a map is: counts that add up over tiles, and the figures made of them."""
