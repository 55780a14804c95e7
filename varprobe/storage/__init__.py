"""Files of a run: datasets, checksums, locks, and reading what others wrote with care."""
