"""What computes: random bits, products, statistics, and compiled programs of many networks at once."""
