"""The floors below are ours, and not files of the same plain names that stand before them."""

from __future__ import annotations

import actors
import mediators
import supervisors

for _package, _name in (
    (actors, "open_system"),
    (supervisors, "one_for_one"),
    (mediators, "Start"),
):
    if not hasattr(_package, _name):
        raise ImportError(
            f"observers stands on understudy's package {_package.__name__}, but "
            f"'import {_package.__name__}' finds "
            f"{getattr(_package, '__file__', None) or 'something else'}. Rename that file: it "
            "hides ours."
        )
