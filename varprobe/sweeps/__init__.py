"""Sweeps: what is asked for, what it costs, who computes it, and where it is kept."""
