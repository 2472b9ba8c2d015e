"""One small program per peer: `python -m benchmarks.peers.<peer> WORK N` prints one JSON line.

A peer's file shows each work as somebody who likes that peer would write it. Three things are alike
everywhere, so that the figures can be compared:

- Messages are made before the clock starts and sent again and again: delivery is measured, not the
  construction of a dataclass.
- A work checks its own result (the counter's total, the number of answers) after the clock stops.
- Works that only send keep at most `BURST` messages in flight, a call at the end of each burst
  being the barrier.
"""
