"""What actors of one system share: made on first use, closed after the last of them."""

from __future__ import annotations

import pytest

from actors import Actor, Exit, System, open_system


class Resource:
    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    def close(self) -> None:
        self.log.append(f"{self.name} closed")


class Broken(Resource):
    def close(self) -> None:
        super().close()
        raise OSError(f"{self.name} does not close")


class User(Actor):
    def __init__(self, log: list[str]) -> None:
        self.log = log

    def on_start(self) -> None:
        self.system.shared("resource", lambda: Resource("resource", self.log))

    async def on_stop(self, exit: Exit) -> None:
        self.log.append("actor stopped")


async def test_one_resource_per_key_and_system() -> None:
    log: list[str] = []
    async with open_system() as one, open_system() as other:
        first = one.shared(("db", "a"), lambda: Resource("a", log))
        assert one.shared(("db", "a"), lambda: Resource("never made", log)) is first
        assert one.shared(("db", "b"), lambda: Resource("b", log)) is not first
        assert other.shared(("db", "a"), lambda: Resource("other a", log)) is not first
    assert log == ["other a closed", "b closed", "a closed"]


async def test_it_is_closed_after_the_last_actor_in_reverse_order() -> None:
    log: list[str] = []
    async with open_system() as system:
        system.shared("first", lambda: Resource("first", log))
        await system.start(User, log)
    assert log == ["actor stopped", "resource closed", "first closed"]


async def test_one_that_does_not_close_holds_up_no_other_and_is_told() -> None:
    log: list[str] = []
    with pytest.raises(OSError, match="broken does not close"):
        async with open_system() as system:
            system.shared("first", lambda: Resource("first", log))
            system.shared("broken", lambda: Broken("broken", log))
    assert log == ["broken closed", "first closed"]


async def test_it_is_closed_when_the_block_fails_and_the_blocks_own_failure_counts() -> None:
    log: list[str] = []
    with pytest.raises(ValueError, match="of the block"):
        async with open_system() as system:
            system.shared("broken", lambda: Broken("broken", log))
            raise ValueError("of the block")
    assert log == ["broken closed"]


async def test_what_could_not_be_made_is_made_at_the_next_use() -> None:
    log: list[str] = []

    def fail() -> Resource:
        raise OSError("not now")

    async with open_system() as system:
        with pytest.raises(OSError, match="not now"):
            system.shared("resource", fail)
        assert system.shared("resource", lambda: Resource("resource", log)).name == "resource"


async def test_a_stopped_system_shares_nothing() -> None:
    system = System()
    async with system.opened():
        pass
    with pytest.raises(RuntimeError, match="has stopped"):
        system.shared("late", lambda: Resource("late", []))
