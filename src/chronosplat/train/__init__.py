"""Training: the config, the objective, the loop and its checkpoint."""
