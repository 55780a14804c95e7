"""What variance alone does not see, on request: pairs of inputs, singular values of Jacobians, distributions.

Each probe runs the blocks of `wired`, those of the plain stack too, once more for every seed.
"""
