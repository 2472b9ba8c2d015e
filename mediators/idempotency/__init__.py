"""Middleware that handles a message sent again under one key once."""

from mediators.idempotency.middleware import Idempotent, KeyClosed, Settle, Settled

__all__ = ["Idempotent", "KeyClosed", "Settle", "Settled"]
