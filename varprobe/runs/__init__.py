"""Runs that were kept: opened, judged, compared, verified and computed again."""
