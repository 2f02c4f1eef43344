"""One solid body from the frames of one static camera, without a network: ``solid.solid_body``, with settings in ``config``."""
