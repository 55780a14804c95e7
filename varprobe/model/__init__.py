"""Probing any JAX function: its matrix products, what follows them, and their gradients, without editing it."""
