"""K1: any object is a message, and its class finds the handler."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Generic, Protocol, TypeVar, Union

import attrs
import pytest
import trio.testing

from actors import Actor, ActorDied, Call, Crashed, Later, Refusal, System, Unhandled, handles
from actors.testing import dead_letters

T = TypeVar("T")


class Animal:
    pass


class Dog(Animal):
    pass


class Puppy(Dog):
    pass


class Cat(Animal):
    pass


@attrs.frozen
class Ask(Call[int]):
    value: int = 0


@attrs.frozen
class Heard(Call["list[str]"]):
    pass


class Recorder(Actor):
    """Writes down which handler was called."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    @handles
    def tell(self, message: Heard) -> list[str]:
        return self.heard


class Kennel(Recorder):
    @handles
    def animal(self, message: Animal) -> None:
        self.heard.append("animal")

    @handles
    def dog(self, message: Dog) -> None:
        self.heard.append("dog")


async def heard(system: System, actor: type[Recorder], *messages: object) -> list[str]:
    ref = await system.start(actor)
    for message in messages:
        ref.cast(message)
    return await ref.call(Heard())


# -- which handler


async def test_K1_the_most_specific_handler_is_chosen_by_the_class_of_the_message(
    system: System,
) -> None:
    assert await heard(system, Kennel, Cat(), Dog(), Puppy(), Animal()) == [
        "animal",
        "dog",
        "dog",
        "animal",
    ]


async def test_K1_any_object_is_a_message(system: System) -> None:
    class Everything(Recorder):
        @handles
        def text(self, message: str) -> None:
            self.heard.append("str")

        @handles
        def number(self, message: int) -> None:
            self.heard.append("int")

        @handles
        def pair(self, message: tuple[object, ...]) -> None:
            self.heard.append(f"tuple of {len(message)}")

        @handles
        def nothing(self, message: None) -> None:
            self.heard.append("None")

        @handles
        def cls(self, message: type) -> None:
            self.heard.append("type")

    messages = ["a", 1, True, (), (1, 2), tuple(range(7)), None, int]
    assert await heard(system, Everything, *messages) == [
        "str",
        "int",
        "int",
        "tuple of 0",
        "tuple of 2",
        "tuple of 7",
        "None",
        "type",
    ]


async def test_K1_tuples_of_every_length_arrive_as_they_were_sent(system: System) -> None:
    probe = system.probe()
    sent = [tuple(range(length)) for length in range(10)]
    for message in sent:
        probe.ref.cast(message)
        await probe.ref.send(message)
    await trio.testing.wait_all_tasks_blocked()
    assert probe.received == [message for message in sent for _ in range(2)]


async def test_K1_unions_and_annotated_name_several_classes(system: System) -> None:
    class Unions(Recorder):
        @handles
        def numbers(self, message: int | float) -> None:
            self.heard.append("number")

        @handles
        def texts(self, message: Union[str, bytes]) -> None:  # noqa: UP007
            self.heard.append("text")

        @handles
        def pets(self, message: Annotated[Dog, "with a note"] | Annotated[Cat, 1]) -> None:
            self.heard.append("pet")

    assert await heard(system, Unions, 1, 1.5, "a", b"a", Dog(), Cat()) == [
        "number",
        "number",
        "text",
        "text",
        "pet",
        "pet",
    ]


async def test_K1_object_is_the_handler_of_every_other_message(system: System) -> None:
    class CatchAll(Kennel):
        @handles
        def rest(self, message: object) -> None:
            self.heard.append(type(message).__name__)

    assert await heard(system, CatchAll, 1, Cat(), None) == ["int", "animal", "NoneType"]


async def test_K1_a_generic_class_stands_for_its_origin(system: System) -> None:
    class Box(Generic[T]):
        pass

    class Boxes(Recorder):
        @handles
        def box(self, message: Box[int]) -> None:
            self.heard.append("box")

    assert await heard(system, Boxes, Box[int](), Box()) == ["box", "box"]


async def test_K1_handles_with_types_needs_no_annotation(system: System) -> None:
    class Named(Recorder):
        @handles(int, str | bytes)
        def some(self, message):  # type: ignore[no-untyped-def]
            self.heard.append(type(message).__name__)

        @handles(Dog)
        def dog(self, message: "NoSuchClass") -> None:  # type: ignore[name-defined]  # noqa: F821
            self.heard.append("dog")

    assert await heard(system, Named, 1, "a", b"a", Puppy()) == ["int", "str", "bytes", "dog"]


async def test_K1_an_annotation_that_is_text_is_resolved_where_the_class_is_made(
    system: System,
) -> None:
    class Local:
        pass

    class Textual(Recorder):
        class Inner:
            pass

        @handles
        def local(self, message: "Local") -> None:
            self.heard.append("local")

        @handles
        def inner(self, message: "Inner") -> None:  # type: ignore[name-defined]
            self.heard.append("inner")

        @handles
        def several(self, message: "Dog | Annotated[Cat, 'note'] | None") -> None:
            self.heard.append("several")

    assert await heard(system, Textual, Local(), Textual.Inner(), Dog(), Cat(), None) == [
        "local",
        "inner",
        "several",
        "several",
        "several",
    ]


async def test_K1_the_route_of_a_class_is_found_once_per_actor_class(system: System) -> None:
    assert await heard(system, Kennel, Puppy(), Puppy()) == ["dog", "dog"]
    routes = Kennel.routes[None]
    assert routes[Puppy] is routes[Puppy]
    assert routes[Puppy] is not Recorder.routes[None][Puppy]


# -- overriding


async def test_K1_overriding_a_handler_keeps_the_message_of_the_base(system: System) -> None:
    class Louder(Kennel):
        def dog(self, message: Dog) -> None:
            self.heard.append("DOG")

    assert await heard(system, Louder, Puppy(), Cat()) == ["DOG", "animal"]


async def test_K1_overriding_with_a_mark_of_its_own_replaces_the_message(system: System) -> None:
    class Changed(Kennel):
        @handles
        def dog(self, message: Cat) -> None:  # type: ignore[override]
            self.heard.append("cat")

    assert await heard(system, Changed, Dog(), Cat()) == ["animal", "cat"]


async def test_K1_overriding_with_none_takes_the_handler_away(system: System) -> None:
    class Fewer(Kennel):
        dog = None  # type: ignore[assignment]

    assert await heard(system, Fewer, Dog()) == ["animal"]


async def test_K1_handlers_of_a_mixin_and_of_two_bases_are_found(system: System) -> None:
    class Meows:
        heard: list[str]

        @handles
        def cat(self, message: Cat) -> None:
            self.heard.append("cat")

    class Both(Meows, Kennel):
        pass

    assert await heard(system, Both, Cat(), Dog()) == ["cat", "dog"]


async def test_K1_an_async_handler_may_override_a_plain_one(system: System) -> None:
    class Slow(Kennel):
        async def dog(self, message: Dog) -> None:  # type: ignore[override]
            self.heard.append("awaited dog")

    assert await heard(system, Slow, Dog()) == ["awaited dog"]


async def test_K1_attrs_classes_are_actors_and_keep_their_handlers(system: System) -> None:
    @attrs.define
    class Account(Actor):
        balance: int = 0

        @handles
        def ask(self, message: Ask) -> int:
            self.balance += message.value
            return self.balance

    @attrs.define
    class Savings(Account):
        rate: int = 2

        def ask(self, message: Ask) -> int:
            return super().ask(message) * self.rate

    plain = await system.start(Account, 10)
    savings = await system.start(Savings, 10, rate=3)
    assert await plain.call(Ask(1)) == 11
    assert await savings.call(Ask(1)) == 33


# -- mistakes are told when the class is made


def refused(make: Callable[[], object], text: str) -> None:
    with pytest.raises(TypeError, match=re.escape(text)):
        make()


def test_K1_two_methods_for_one_class_are_refused() -> None:
    def make() -> None:
        class Twice(Actor):
            @handles
            def one(self, message: Dog) -> None: ...

            @handles
            def two(self, message: Dog | Cat) -> None: ...

    refused(make, "two handlers for Dog; a message has one handler. Got: one and two")


def test_K1_two_methods_for_one_class_in_two_bases_are_refused() -> None:
    class One(Actor):
        @handles
        def one(self, message: Dog) -> None: ...

    class Two(Actor):
        @handles
        def two(self, message: Dog) -> None: ...

    refused(lambda: type("Both", (One, Two), {}), "two handlers for Dog")


def test_K1_a_handler_without_annotation_is_refused() -> None:
    def make() -> None:
        class Unannotated(Actor):
            @handles
            def bare(self, message): ...  # type: ignore[no-untyped-def]

    refused(make, "has no annotation for its message 'message'")


@pytest.mark.parametrize(
    "annotation", [Any, 3, T, Callable[[], None] | Any], ids=["Any", "3", "TypeVar", "union"]
)
def test_K1_an_annotation_that_names_no_class_is_refused(annotation: Any) -> None:
    def make() -> None:
        class Wrong(Actor):
            @handles
            def wrong(self, message: annotation) -> None: ...

    refused(make, "Accepted: a class, a union of classes")


def test_K1_an_annotation_that_cannot_be_resolved_is_refused_and_says_what_to_do() -> None:
    def make() -> None:
        class Wrong(Actor):
            @handles
            def wrong(self, message: "Unknown") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    refused(make, "cannot be resolved")
    refused(make, "write @handles(Type)")


def test_K1_a_handler_takes_self_and_exactly_one_message() -> None:
    def none(self: Any) -> None: ...

    def two(self: Any, message: Dog, more: Cat) -> None: ...

    def star(self: Any, *messages: Dog) -> None: ...

    def keyword(self: Any, *, message: Dog) -> None: ...

    for function in (none, two, star, keyword):
        refused(lambda function=function: handles(function), "must take self and exactly one")


def test_K1_an_override_has_to_take_one_message_too() -> None:
    def make() -> None:
        class Wrong(Kennel):
            def dog(self) -> None: ...  # type: ignore[override]

    refused(make, "must take self and exactly one message")


def test_K1_generators_and_what_is_no_function_are_refused() -> None:
    def generator(self: Any, message: Dog) -> Any:
        yield 1

    async def async_generator(self: Any, message: Dog) -> Any:
        yield 1

    refused(lambda: handles(generator), "is a generator")
    refused(lambda: handles(async_generator), "is a generator")
    refused(lambda: handles(Dog)(staticmethod(len)), "takes a method")
    refused(lambda: handles(state="open")(3), "takes a method")


def test_K1_handles_without_anything_is_refused() -> None:
    refused(lambda: handles(), "Got: @handles()")


@pytest.mark.parametrize("state", [3, "", ("a", 1)])
def test_K1_handles_takes_names_of_states(state: Any) -> None:
    refused(lambda: handles(Dog, state=state), "@handles(state=) takes the name of a state")


def test_K1_a_return_annotation_that_contradicts_the_reply_type_is_refused() -> None:
    def make() -> None:
        class Wrong(Actor):
            @handles
            def ask(self, message: Ask) -> str:
                return ""

    refused(make, "handles Ask, whose answer is int")
    refused(make, "Got: str")


def test_K1_a_contradicting_override_is_refused() -> None:
    class Right(Actor):
        @handles
        def ask(self, message: Ask) -> int:
            return 1

    def make() -> None:
        class Wrong(Right):
            def ask(self, message: Ask) -> None:  # type: ignore[override]
                ...

    refused(make, "Got: NoneType")


def test_K1_return_annotations_that_may_be_right_are_accepted() -> None:
    class Number(Call[float]):
        pass

    class Maybe(Call["int | None"]):
        pass

    class Untold(Call):  # type: ignore[type-arg]
        pass

    class Shape(Protocol):
        pass

    class Shaped(Call[Shape]):
        pass

    class Unknown(Call["NoSuchClass"]):  # type: ignore[name-defined]
        pass

    class Fine(Actor):
        @handles
        def number(self, message: Number) -> int:
            return 1

        @handles
        def maybe(self, message: Maybe) -> int | None:
            return None

        @handles
        def untold(self, message: Untold) -> bytes:
            return b""

        @handles
        def deferred(self, message: Ask) -> Later[int]:
            return self.later()

        @handles
        def shaped(self, message: Shaped) -> int:
            return 1

        @handles
        def unknown(self, message: Unknown) -> int:
            return 1

        @handles
        def listed(self, message: Heard) -> Annotated[list[str], "names"]:
            return []

    class Fine2(Actor):
        @handles
        def either(self, message: Ask | Dog) -> str:
            return "of a one-way message nothing is said"

        @handles
        def unresolved(self, message: Number) -> "NoSuchClass":  # type: ignore[name-defined]  # noqa: F821
            return 1.0

    assert Fine.routes[None].messages[Ask] == "deferred"
    assert Fine2.routes[None].messages[Number] == "unresolved"


def test_K1_the_handlers_of_a_class_that_failed_can_be_used_again() -> None:
    def make() -> type[Actor]:
        class Ok(Actor):
            @handles
            def ask(self, message: Ask) -> int:
                return 1

        return Ok

    assert make().routes[None].messages == {Ask: "ask"}
    assert make().routes[None].messages == {Ask: "ask"}


@pytest.mark.parametrize("name", ["on_start", "on_ready", "on_stop"])
def test_K1_a_callback_of_another_shape_is_refused(name: str) -> None:
    wanted = "self and exit" if name == "on_stop" else "only self"

    def wrong(self: Any, one: int, two: int) -> None: ...

    refused(lambda: type("Wrong", (Actor,), {name: wrong}), f"must take {wanted}")
    refused(lambda: type("Wrong", (Actor,), {name: 3}), "must be a def or an async def. Got: 3")


# -- call wants a Call


async def test_K1_call_with_something_else_than_a_call_is_a_type_error(system: System) -> None:
    ref = await system.start(Kennel)
    with pytest.raises(TypeError, match=r"call\(\) takes a Call.*Got: <.*Dog"):
        await ref.call(Dog())  # type: ignore[arg-type]
    assert await ref.call(Heard()) == []


async def test_K1_a_class_is_no_call(system: System) -> None:
    ref = await system.start(Kennel)
    with pytest.raises(TypeError, match="takes a Call"):
        await ref.call(Heard)  # type: ignore[arg-type]


async def test_K1_a_call_may_be_sent_one_way_and_its_answer_is_dropped(system: System) -> None:
    class Counter(Actor):
        total = 0

        @handles
        def ask(self, message: Ask) -> int:
            self.total += message.value
            return self.total

    ref = await system.start(Counter)
    ref.cast(Ask(1))
    await ref.send(Ask(2))
    assert await ref.call(Ask(3)) == 6


# -- K3


async def test_K3_a_one_way_message_nobody_handles_is_a_dead_letter_with_a_warning(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    letters = dead_letters(system)
    ref = await system.start(Kennel)
    ref.cast("what?")
    assert await ref.call(Heard()) == []
    assert [(each.message, each.reason, each.sender) for each in letters] == [
        ("what?", "no handler", None)
    ]
    warnings = [each for each in caplog.records if each.levelname == "WARNING"]
    assert [each.getMessage() for each in warnings] == [f"{ref.path} has no handler for 'what?'"]


async def test_K3_an_unhandled_call_fails_its_caller_at_once_and_the_actor_lives(
    system: System,
) -> None:
    letters = dead_letters(system)
    ref = await system.start(Kennel)
    with pytest.raises(Unhandled, match="It handles: Heard, Animal, Dog. Got: Ask") as caught:
        await ref.call(Ask(3), timeout=None)
    assert caught.value.ref == ref
    assert caught.value.message == Ask(3)
    assert ref.alive
    assert not letters


async def test_K3_an_actor_without_handlers_says_so(system: System) -> None:
    ref = await system.start(Actor)
    with pytest.raises(Unhandled, match="It handles: none"):
        await ref.call(Ask())


async def test_K3_unhandled_raised_by_another_actor_is_a_crash_like_any_other(
    system: System,
) -> None:
    class Asks(Actor):
        def __init__(self, other: Any) -> None:
            self.other = other

        @handles
        async def ask(self, message: Ask) -> int:
            return await self.other.call(message)  # type: ignore[no-any-return]

    other = await system.start(Actor)
    ref = await system.start(Asks, other)
    with pytest.raises(ActorDied) as caught:
        await ref.call(Ask())
    assert isinstance(caught.value.__cause__, Unhandled)
    assert isinstance(await ref.wait(), Crashed)
    assert other.alive


# -- K4, as far as it is the answer to one message


class No(Refusal):
    pass


async def test_K4_a_refusal_is_a_class_of_its_own_for_the_caller(system: System) -> None:
    class Refuses(Actor):
        def __init__(self) -> None:
            self.refusal = No("not today")

        @handles
        def ask(self, message: Ask) -> int:
            raise self.refusal

    actor = Refuses()
    ref = await system.start(lambda: actor)
    with pytest.raises(No, match="not today") as caught:
        await ref.call(Ask())
    assert caught.value is actor.refusal
    assert ref.alive


def test_handlers_for_states_need_a_state_machine() -> None:
    def make() -> None:
        class Plain(Actor):
            @handles(Dog, state="open")
            def dog(self, message: Dog) -> None: ...

    refused(make, "has handlers for states, which only a StateMachine has. Got: 'open'")


def test_K1_a_return_annotation_that_is_no_class_decides_nothing() -> None:
    class Fine(Actor):
        @handles
        def ask(self, message: Ask) -> T:  # type: ignore[type-var]
            raise NotImplementedError

    assert Fine.routes[None].messages == {Ask: "ask"}
