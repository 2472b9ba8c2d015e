"""Understudy and its peers at the same work: `python -m benchmarks.run`."""
