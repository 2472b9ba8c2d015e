"""Tools for tests of what a mediator coordinates."""

from mediators.testing.keys import call_with_key

__all__ = ["call_with_key"]
