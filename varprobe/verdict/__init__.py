"""Verdicts on stacks: rates, thresholds, causes, remedies, and the table that is printed."""
