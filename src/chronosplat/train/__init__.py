"""Training: config, objective, loop and checkpoint."""
