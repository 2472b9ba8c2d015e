"""The page: what can be known of a message though its process says nothing any more."""

from __future__ import annotations

import os

from actors.isolation import page as pages


def test_what_was_given_back_is_set_aside_until_its_sender_has_it() -> None:
    descriptor = pages.make()
    sender, receiver = pages.Page(descriptor), pages.Page(descriptor)
    os.close(descriptor)
    try:
        for number in (7, 8):
            sender.note(number, pages.SENT)
            receiver.took(number)
        at = receiver.give_back(7)
        receiver.set_aside(8)
        receiver.settle(8)
        assert sender.aside() == {7, 8}
        # Whatever a process says that is not one of ours.
        for number, cell in ((8, at), (7, 1), (7, -1), (7, 1 << 40)):
            sender.had_back(number, cell)
        assert sender.aside() == {7, 8}
        sender.had_back(7, at)
        assert sender.aside() == {8}
        receiver.set_aside(9)
        assert receiver.give_back(9) == at
    finally:
        sender.close()
        receiver.close()
