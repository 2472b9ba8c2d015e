"""Each safety check fails once its mechanism is taken away."""
