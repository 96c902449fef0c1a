"""How fast the product is, in ratios: ``make bench``, ``make bench-peers``, and the comparison."""
