"""The floor below is ours, and not a file of the same plain name that stands before it."""

from __future__ import annotations

import actors

if not hasattr(actors, "open_system"):
    raise ImportError(
        "supervisors stands on understudy's package actors, but 'import actors' finds "
        f"{getattr(actors, '__file__', None) or 'something else'}. Rename that file: it hides ours."
    )
