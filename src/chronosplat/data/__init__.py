"""Data: clips of moving meshes, the bank they are kept in, training samples, and captures rendered to disk."""
