"""Whether a run folder holds what it says, file by file; nothing is written, and no code that it names is imported."""
