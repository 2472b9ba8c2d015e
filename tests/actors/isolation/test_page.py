"""The page: what can be known of a message though its process says nothing any more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count

import pytest

from actors.isolation import page as pages
from actors.isolation.page import DONE, FATES, SENT, TAKEN, Page


@pytest.fixture
def page() -> Iterator[Page]:
    """A new page."""
    descriptor = pages.make()
    made = Page(descriptor)
    yield made
    made.close()
    os.close(descriptor)


def test_what_waits_is_remembered_however_many_come_after_it(page: Page) -> None:
    next_number = count(1).__next__
    waiting = [page.sent(next_number) for _ in range(300)]
    for _ in range(3 * FATES):
        number = page.sent(next_number)
        assert page.fate(number) == SENT
        page.took(number)
        assert page.fate(number) == TAKEN
        page.note(number, DONE)
    assert {page.fate(number) for number in waiting} == {SENT}


def test_more_may_wait_than_there_are_cells(page: Page) -> None:
    """The first ones are forgotten then."""
    next_number = count(1).__next__
    numbers = [page.sent(next_number) for _ in range(3 * FATES)]
    assert len(set(numbers)) == 3 * FATES
    assert page.fate(numbers[-1]) == SENT and page.fate(numbers[0]) == TAKEN


def test_what_is_in_the_middle_of_its_turn_is_kept_and_not_set_aside(page: Page) -> None:
    page.set_aside(7)
    assert page.kept() == {7} and page.aside() == set()
    page.settle(7)
    assert page.kept() == page.aside() == {7}
    page.took(7)
    assert page.kept() == page.aside() == set()


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
