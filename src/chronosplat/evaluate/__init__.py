"""Evaluation: the set-ups of the benchmark and its baselines."""
