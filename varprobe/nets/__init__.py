"""What networks are made of: activations, initializers, norms, data and architectures."""
