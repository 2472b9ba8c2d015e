"""What the journal of a mediator may speak of."""

from __future__ import annotations

from actors.payloads.types import Types


class JournalTypes(Types):
    """The types whose names may be resolved in one mediator's journal."""

    reach = "which no component's and no workflow's annotations reach"
    way_out = "name it in the mediator's types"
