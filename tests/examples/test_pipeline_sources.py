"""The file pipeline: which files there are, what they are called, and how much may come out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from examples.file_pipeline.converters import path_of
from examples.file_pipeline.limits import HARMLESS, Limits, Room
from examples.file_pipeline.sources import Source, Walked, called, walk


def paths(walked: Walked) -> list[str]:
    return [source.path for source in walked.sources]


def some(directory: Path, *names: str | bytes) -> None:
    for name in names:
        place = os.path.join(os.fsencode(directory), os.fsencode(name))
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "wb") as file:
            file.write(b"some")


# -- what files are called


@pytest.mark.parametrize("name", ["a.txt", "in/ä b.pdf", "日本.zip", "#", "[red]x[/red]", "<b>"])
def test_a_name_that_can_be_read_stays_as_it_is(name: str) -> None:
    assert called(name.encode()) == name


@pytest.mark.parametrize("name", [b"caf\xe9", b"two\nlines", b"\x1b[31m", b"\xe2\x80\xae", b"a!/b"])
def test_a_name_that_cannot_is_called_something_that_can(name: bytes) -> None:
    found = called(name)
    assert found.isprintable() and found.encode()
    assert found != name.decode("utf-8", "replace")


def test_no_two_files_are_called_the_same() -> None:
    names = [b"caf\xe9", b"caf\\xe9", b"caf\xe8", "café".encode(), b"a\nb", b"a\\nb", b"a\rb"]
    assert len({called(name) for name in names}) == len(names)


def test_a_member_is_called_after_its_archive_and_never_as_a_file_beside_it() -> None:
    archive = Source("a.zip", b"/d/a.zip", 10)
    member = archive.member(Path("/w"), "in/b", 3, "1f", Room(5, 50))
    assert (member.path, member.parent, member.depth) == ("a.zip!/in/b", "a.zip", 1)
    assert (path_of(member.place), member.size, member.room) == (Path("/w/in/b"), 3, Room(5, 50))
    assert called(b"a.zip!/in/b") != member.path
    deeper = member.member(Path("/v"), "caf\udce9", 1, "2e", Room())
    assert deeper.path.startswith("a.zip!/in/b!/caf\\xe9~") and deeper.depth == 2
    assert deeper.place == b"/v/caf\xe9"


def test_what_is_made_of_a_file_has_a_name_of_its_own() -> None:
    one = Source("a.zip", b"/d/a.zip", 10)
    same = Source("a.zip", b"/elsewhere/a.zip", 11, changed=9)
    members = [one.member(Path("/w"), "b", 1, edition, Room()) for edition in ("1f", "2e")]
    assert one.key == same.key
    assert len({one.key, *(member.key for member in members)}) == 3


# -- which there are


def test_all_files_are_found_those_of_a_directory_in_order(tmp_path: Path) -> None:
    some(tmp_path, "b", "a/z", "a/b/c", "c/d", "A", b"caf\xe9", ".hidden/x")
    found = walk(tmp_path, tmp_path / "out")
    assert paths(found) == ["A", "b", called(b"caf\xe9"), ".hidden/x", "a/z", "a/b/c", "c/d"]
    assert all(path_of(source.place).read_bytes() == b"some" for source in found.sources)
    assert {source.size for source in found.sources} == {4}
    assert all(
        source.changed == path_of(source.place).stat().st_mtime_ns for source in found.sources
    )
    assert (found.closed, found.others) == ({}, 0)


def test_links_and_special_files_are_counted_and_left_alone(tmp_path: Path) -> None:
    some(tmp_path, "in/a")
    (tmp_path / "to a file").symlink_to(tmp_path / "in" / "a")
    (tmp_path / "to a directory").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "round").symlink_to(tmp_path)
    (tmp_path / "to nothing").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    found = walk(tmp_path, tmp_path / "out")
    assert (paths(found), found.others) == (["in/a"], 5)


def test_what_is_kept_is_no_file_of_the_directory(tmp_path: Path) -> None:
    some(tmp_path, "a", "out/texts/x", "outer/b", "in/out/c")
    assert paths(walk(tmp_path, tmp_path / "out")) == ["a", "in/out/c", "outer/b"]


def test_a_directory_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some(tmp_path, "a", "in/b", "shut/c")
    real: Any = os.scandir

    def scandir(place: Any) -> Any:
        if place.endswith(b"shut"):  # whoever runs the tests may read everything
            raise PermissionError(13, "Permission denied")
        return real(place)

    monkeypatch.setattr(os, "scandir", scandir)
    found = walk(tmp_path, tmp_path / "out")
    assert paths(found) == ["a", "in/b"]
    assert found.closed == {"shut": "cannot be read: Permission denied"}


def test_an_empty_directory_has_no_files(tmp_path: Path) -> None:
    assert walk(tmp_path, tmp_path / "out") == Walked([], {}, 0)


# -- how much may come out


def test_room_bounds_what_an_archive_may_be() -> None:
    usual = Limits()
    assert Room().limits() == usual
    small = Room(files=3, bytes=500).limits()
    assert (small.members, small.bytes, small.ratio) == (3, 500, usual.ratio)


def test_room_is_shared_among_members_by_their_size() -> None:
    rooms = Room(files=102, bytes=(100 << 20) + 400).shared([100, 300])
    assert [room.files for room in rooms] == [50, 50]
    assert rooms[1].bytes == 3 * rooms[0].bytes
    assert sum(room.bytes for room in rooms) == 100 << 20


def test_archives_in_archives_have_no_more_room_than_the_outermost() -> None:
    rooms, files = [Room()], 0
    for _ in range(4):
        rooms = [each for room in rooms for each in room.shared([10 << 20] * 8)]
        files += len(rooms)
        assert files + sum(room.files for room in rooms) <= Room().files
        assert sum(room.bytes for room in rooms) <= Room().bytes


def test_a_member_may_always_have_what_does_no_harm() -> None:
    assert Room(files=0, bytes=0).shared([0, 5]) == [Room(0, HARMLESS), Room(0, HARMLESS)]
    assert Room().shared([]) == []
