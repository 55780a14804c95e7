"""Variance of activations and gradients through deep networks, before training."""
