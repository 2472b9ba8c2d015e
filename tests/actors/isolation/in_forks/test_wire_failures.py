"""What comes of what does not cross between two processes: its caller fails, and nobody else."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from actors import (
    Actor,
    Call,
    Process,
    Refusal,
    Unhandled,
    handles,
    open_system,
)
from actors.payloads import NotEncodable, Undecodable
from supervisors import Child, one_for_one
from tests.actors.isolation.far_actors import Fail, Notes, Pid
from tests.actors.isolation.in_forks.guarded import real
from tests.actors.isolation.in_forks.wire_actors import (
    Arm,
    AttrsRefusal,
    Base,
    Colour,
    Counter,
    Echo,
    Explode,
    Explosive,
    ExplosiveEvent,
    Mirror,
    OnlyFields,
    Point,
    Refuse,
    Slotted,
    Speak,
    SpeakTo,
    arm,
    started,
)

# -- refusals


@real
async def test_refusals_come_back_with_fields_args_and_slots() -> None:
    async with started() as (_, ref):
        await ref.call(Echo([Point(0), Colour.RED]))  # no annotation of OnlyFields names them
        with pytest.raises(OnlyFields) as fields:
            await ref.call(Refuse("fields"))
        assert (fields.value.point, fields.value.colour) == (Point(1, 2.0), Colour.BLUE)
        with pytest.raises(Slotted) as slotted:
            await ref.call(Refuse("slots"))
        assert (slotted.value.left, str(slotted.value)) == (3, "3 left")
        with pytest.raises(Refusal, match="^plain$"):
            await ref.call(Refuse("plain"))
        assert ref.incarnation == 1


@real
async def test_a_refusal_makes_known_what_its_fields_name() -> None:
    async with started() as (_, ref):
        with pytest.raises(AttrsRefusal) as refused:
            await ref.call(Refuse("attrs"))
        assert (refused.value.item, refused.value.at) == ("chair", Point(4))


@real
async def test_a_refusal_of_a_local_class_comes_back_as_that_class() -> None:
    class LocalNo(Refusal):
        def __init__(self, why: str) -> None:
            super().__init__(why)
            self.why = why

    @attrs.frozen
    class Please(Call[None]):
        pass

    class Refuser(Actor):
        @handles
        def please(self, msg: Please) -> None:
            raise LocalNo("not today")

    async with started(cls=Refuser) as (_, ref):
        with pytest.raises(LocalNo) as refused:
            await ref.call(Please())
        assert refused.value.why == "not today"


@pytest.mark.parametrize("how", ["surrogate", "unspeakable"])
@real
async def test_a_refusal_that_cannot_leave_fails_its_caller_and_nobody_else(how: str) -> None:
    async with started() as (_, ref):
        for _ in range(3):
            # The first of its class takes another way than those after it.
            with pytest.raises((Refusal, NotEncodable)):
                await ref.call(Refuse(how))
        assert await ref.call(Echo("fine")) == "fine"
        assert ref.incarnation == 1


@real
async def test_a_refusal_that_cannot_leave_this_process_fails_its_caller_there() -> None:
    async with started() as (system, ref):
        here = await system.start(Mirror)
        for how in ("surrogate", "surrogate", "unspeakable"):
            said = await ref.call(SpeakTo(here, Refuse(how)))
            assert said.startswith(("Refusal", "NotEncodable"))
        assert here.incarnation == ref.incarnation == 1


# -- what cannot be read


@pytest.mark.parametrize("how", ["value", "key", "own"])
@real
async def test_a_message_that_cannot_be_read_fails_its_caller_and_nobody_else(how: str) -> None:
    async with started() as (_, ref):
        assert await ref.call(Explosive(how)) == 1
        await ref.call(Arm())
        with pytest.raises(Undecodable, match="cannot be read|does not fit"):
            await ref.call(Explosive(how))
        ref.cast(ExplosiveEvent(how))
        assert await ref.call(Notes()) == []
        await ref.call(Arm(on=False))
        ref.cast(ExplosiveEvent(how))
        assert await ref.call(Notes()) == ["'it has come'"]
        assert ref.incarnation == 1


@pytest.mark.parametrize("how", ["value", "key", "own"])
@real
async def test_an_answer_that_cannot_be_read_fails_its_caller_and_nobody_else(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started() as (_, ref):
        monkeypatch.setenv("UNDERSTUDY_TEST_WORKER", "0")
        import os

        assert await ref.call(Explode(how)) is not None
        arm(os.getpid())
        with pytest.raises(Undecodable):
            await ref.call(Explode(how))
        arm(0)
        assert await ref.call(Explode(how)) is not None
        assert ref.incarnation == 1


@pytest.mark.parametrize("how", ["value", "key", "own"])
@real
async def test_an_answer_that_would_not_come_back_fails_its_caller_and_nobody_else(
    how: str,
) -> None:
    """It is found out in the worker, where the answer is made."""
    async with started() as (_, ref):
        with pytest.raises((NotEncodable, Undecodable)):
            await ref.call(Explode(how, here=True))
        await ref.call(Arm(on=False))
        assert await ref.call(Echo("fine")) == "fine"
        assert ref.incarnation == 1


@pytest.mark.parametrize("how", ["value", "key", "own"])
@real
async def test_an_answer_made_here_that_would_not_come_back_fails_its_caller_alone(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found out in this process, which has more to lose than one actor."""
    monkeypatch.setenv("UNDERSTUDY_TEST_WORKER", "0")
    async with started() as (system, ref):
        here = await system.start(Mirror)
        said = await ref.call(SpeakTo(here, Explode(how, here=True)))
        arm(0)
        assert said.startswith(("NotEncodable", "Undecodable"))
        assert await ref.call(Speak(here, 1)) == 1001
        assert here.incarnation == ref.incarnation == 1


@real
async def test_a_class_that_cannot_be_imported_there_fails_its_caller_and_nobody_else(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its module has come to be found only after the worker had begun."""
    async with started() as (_, ref):
        pid = await ref.call(Arm(on=False))
        (tmp_path / "comes_late.py").write_text(
            "import attrs\nfrom actors import Call\n\n"
            "@attrs.frozen\nclass Late(Call[str]):\n    text: str\n",
            "utf-8",
        )
        monkeypatch.syspath_prepend(tmp_path)
        import comes_late  # type: ignore[import-not-found]

        try:
            with pytest.raises((Unhandled, NotEncodable, Undecodable)):
                await ref.call(comes_late.Late("x"))
            with pytest.raises((NotEncodable, Undecodable)):
                await ref.call(Echo(comes_late.Late("x")))
            assert await ref.call(Echo("fine")) == "fine"
            assert await ref.call(Arm(on=False)) == pid
        finally:
            import sys

            del sys.modules["comes_late"]


@real
async def test_an_error_told_in_words_that_are_no_unicode_arrives() -> None:
    """A crash report holds the text of an exception, and with it what users have typed."""

    class Reader(Actor):
        @handles
        def base(self, msg: Base) -> str:
            raise ValueError(f"no such file: {msg.text}\udcff")

        @handles
        def pid(self, msg: Pid) -> int:
            return 1

    async with open_system(one_for_one(Child(Reader, name="r", isolation="process"))) as system:
        ref = system.whereis("r")
        assert ref is not None
        with pytest.raises(Exception, match="ended") as died:
            await ref.call(Base("a"))
        assert "no such file: a" in str(died.value.__cause__)
        assert await ref.call(Pid()) == 1
        assert ref.incarnation == 2


@real
async def test_errors_of_this_process_cross_whatever_their_text() -> None:
    async with started() as (system, ref):
        counter = await system.start(Counter)
        said = await ref.call(SpeakTo(counter, Fail("a crash")))
        assert said.startswith("ActorDied: ") and "ValueError" in said
        assert ref.incarnation == 1


@real
async def test_a_message_may_be_as_large_as_it_may_and_no_larger() -> None:
    async with started(isolation=Process(max_message=1 << 20)) as (system, ref):
        here = await system.start(Mirror)
        fits = "x" * ((1 << 20) - 200)
        assert await ref.call(Echo(fits)) == fits
        assert len(await ref.call(SpeakTo(here, Echo(fits)))) == len(fits) + 2
        with pytest.raises(NotEncodable, match="max_message"):
            await ref.call(Echo("x" * (1 << 20)))
        assert ref.incarnation == 1
