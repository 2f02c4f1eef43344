"""Evaluation: set-ups, methods and baselines, metrics and the report."""
