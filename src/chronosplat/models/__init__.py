"""Models: the transformer, the heads that turn its channels into Gaussians, presets and weights."""
