"""The engine of every architecture but the plainest: blocks written once, forward, and differentiated by jax.

The plain stack has an engine of its own (`stack`), written out by hand, which is faster and shares more between nets.
"""
