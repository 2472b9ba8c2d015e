"""The file pipeline: archives, and what they try."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import attrs
import msgspec
import pytest

from examples.file_pipeline.archives import FORMATS, Listing, Member, listing, safe_path, unpack
from examples.file_pipeline.kinds import sniff
from examples.file_pipeline.limits import HARMLESS, Limits
from examples.file_pipeline.unreadable import Bomb, Unreadable
from tests.examples.pipeline_samples import (
    ARCHIVES,
    COMPRESS,
    tar_member,
    tarred,
    zipped,
)

GENEROUS = Limits(ratio=100_000)


def written(directory: Path, data: bytes, name: str = "archive") -> Path:
    path = directory / name
    path.write_bytes(data)
    return path


def tree(directory: Path) -> dict[str, bytes]:
    """All that is in a directory, links and special files included."""
    found: dict[str, bytes] = {}
    for root, folders, names in os.walk(directory):
        assert not any(os.path.islink(os.path.join(root, folder)) for folder in folders)
        for name in names:
            path = Path(root, name)
            assert path.is_file() and not path.is_symlink()
            found[path.relative_to(directory).as_posix()] = path.read_bytes()
    return found


class Plug(BaseException):
    """The process is killed here."""


def plugged(after: int) -> Callable[[], None]:
    """Is called, and the last time it pulls the plug."""
    left = iter(range(after))

    def alive() -> None:
        if next(left, None) is None:
            raise Plug

    return alive


@pytest.mark.parametrize("format", [each for each in FORMATS if each[:3] in ("zip", "tar")])
def test_an_archive_is_listed_and_unpacked(tmp_path: Path, format: str) -> None:
    path = written(tmp_path, ARCHIVES[format])
    assert sniff(path).format == format
    listed = listing(path, format)
    assert [(each.name, each.size, each.kind) for each in listed.members] == [
        ("one.txt", 3, "file"),
        ("in/two.txt", 3, "file"),
    ]
    assert listed.total == 6
    assert all((each.compressed is not None) == (format == "zip") for each in listed.members)
    assert msgspec.json.decode(msgspec.json.encode(listed), type=Listing) == listed
    assert unpack(path, format, tmp_path / "out") == ["one.txt", "in/two.txt"]
    assert tree(tmp_path / "out") == {"one.txt": b"one", "in/two.txt": b"two"}
    assert sorted(each.name for each in tmp_path.iterdir()) == ["archive", "out"]


@pytest.mark.parametrize("format", sorted(COMPRESS))
def test_a_compressed_file_is_an_archive_of_one(tmp_path: Path, format: str) -> None:
    names = {
        f"play.txt.{format}": "play.txt",
        f"PLAY.{format.upper()}": "PLAY",
        "play": "play.out",
        f"...{format}": f"...{format}.out",
    }
    for name, inside in names.items():
        path = written(tmp_path, ARCHIVES[format], name)
        assert listing(path, format) == Listing([Member(inside, 3, None, "file")], 3)
        assert unpack(path, format, tmp_path / "out") == [inside]
        assert tree(tmp_path / "out")[inside] == b"one"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("after", range(3))
def test_an_unpacking_that_was_killed_is_done_again_with_the_same_result(
    tmp_path: Path, format: str, after: int
) -> None:
    data, files = b"x" * (1 << 18), {"a.txt": b"a", "b/c.txt": b"c", "b/d.txt": b"d", "e": b""}
    if format == "zip":
        archive = zipped({**files, "long": data * 3})
    elif format.startswith("tar"):
        archive = COMPRESS.get(format[4:], bytes)(tarred({**files, "long": data * 3}))
    else:
        archive = COMPRESS[format](data * 3)
    path = written(tmp_path, archive)
    whole = unpack(path, format, tmp_path / "whole", GENEROUS)
    out = tmp_path / "out"
    with pytest.raises(Plug):
        unpack(
            path, format, out, GENEROUS, alive=plugged(min(after, 2) if len(whole) == 1 else after)
        )
    (tmp_path / ".out.part").write_bytes(b"left over")
    assert unpack(path, format, out, GENEROUS) == whole
    assert tree(out) == tree(tmp_path / "whole")
    assert unpack(path, format, out, GENEROUS) == whole
    assert tree(out) == tree(tmp_path / "whole")
    assert not (tmp_path / ".out.part").exists()


def test_what_was_half_written_never_has_the_name_of_the_whole(tmp_path: Path) -> None:
    path = written(tmp_path, zipped({"first": b"1", "second": os.urandom(1 << 20)}))
    with pytest.raises(Plug):
        unpack(path, "zip", tmp_path / "out", alive=plugged(3))
    assert tree(tmp_path / "out") == {"first": b"1"}


@pytest.mark.parametrize("name", ["../out", "in/../../out", "..", "a/..", "/../x"])
@pytest.mark.parametrize("format", ["zip", "tar", "tar.gz"])
def test_an_archive_with_a_member_that_leads_out_of_it_is_refused(
    tmp_path: Path, format: str, name: str
) -> None:
    files = {"in/good": b"good", name: b"evil"}
    data = zipped(files) if format == "zip" else COMPRESS.get(format[4:], bytes)(tarred(files))
    path = written(tmp_path, data)
    with pytest.raises(Unreadable, match=r"leads out of the archive. Got: "):
        unpack(path, format, tmp_path / "here" / "there")
    assert tree(tmp_path / "here") == {}
    assert list((tmp_path / "here" / "there").iterdir()) == []
    assert len(listing(path, format).members) == 2


@pytest.mark.parametrize("format", ["zip", "tar"])
def test_a_member_that_begins_at_the_root_is_put_into_the_directory(
    tmp_path: Path, format: str
) -> None:
    files = {"/etc/passwd": b"root", "./a//b/./c": b"c"}
    path = written(tmp_path, zipped(files) if format == "zip" else tarred(files))
    assert unpack(path, format, tmp_path / "out") == ["etc/passwd", "a/b/c"]


def test_links_and_special_files_are_listed_and_never_made(tmp_path: Path) -> None:
    data = tarred(
        {"file": b"file"},
        tar_member("soft", tarfile.SYMTYPE, "/etc"),
        tar_member("hard", tarfile.LNKTYPE, "file"),
        tar_member("pipe", tarfile.FIFOTYPE),
        tar_member("device", tarfile.CHRTYPE),
        tar_member("folder", tarfile.DIRTYPE),
    )
    path = written(tmp_path, data)
    kinds = {each.name: each.kind for each in listing(path, "tar").members}
    assert kinds == {
        "file": "file",
        "soft": "link",
        "hard": "link",
        "pipe": "other",
        "device": "other",
        "folder": "directory",
    }
    assert unpack(path, "tar", tmp_path / "out") == ["file"]
    assert tree(tmp_path / "out") == {"file": b"file"}


def test_a_file_is_not_written_through_a_link_of_the_same_archive(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tar_member("way", tarfile.SYMTYPE, str(tmp_path)))
        info = tarfile.TarInfo("way/out.txt")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"evil"))
    path = written(tmp_path, out.getvalue())
    assert unpack(path, "tar", tmp_path / "out") == ["way/out.txt"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["archive", "out"]


@pytest.mark.parametrize(
    ("mode", "kind"), [(0o120777, "link"), (0o010644, "other"), (0o040755, "directory")]
)
def test_in_a_zip_links_and_special_files_are_told_by_their_mode(
    tmp_path: Path, mode: int, kind: str
) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("name")
        info.external_attr = mode << 16
        archive.writestr(info, "/etc/passwd")
        archive.writestr("folder/", "")
    path = written(tmp_path, out.getvalue())
    assert [each.kind for each in listing(path, "zip").members] == [kind, "directory"]
    assert unpack(path, "zip", tmp_path / "out") == []


def test_of_two_members_of_one_name_the_later_counts(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for data in (b"old", b"newer"):
            info = tarfile.TarInfo("name")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    path = written(tmp_path, out.getvalue())
    assert unpack(path, "tar", tmp_path / "out") == ["name"]
    assert tree(tmp_path / "out") == {"name": b"newer"}


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("x/a/b", "x/a")])
def test_a_member_cannot_be_a_file_and_a_directory(tmp_path: Path, names: tuple[str, str]) -> None:
    path = written(tmp_path, zipped(dict.fromkeys(names, b"x")))
    with pytest.raises(Unreadable, match="is a file and a directory"):
        unpack(path, "zip", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [os.fsdecode(b"caf\xe9.txt"), "new\nline", "tab\t", "x" * 255, "ä" * 200, "\x1b[31m"],
)
def test_a_name_that_no_file_should_have_is_changed(tmp_path: Path, name: str) -> None:
    files = {name: b"1", f"{name}\x01": b"2", "folder/" + name: b"3"}
    path = written(tmp_path, tarred(files, format=tarfile.PAX_FORMAT))
    names = unpack(path, "tar", tmp_path / "out")
    assert len(set(names)) == 3
    msgspec.json.encode([names, listing(path, "tar")])
    assert tree(tmp_path / "out") == dict(zip(names, [b"1", b"2", b"3"], strict=True))
    assert all(name.isprintable() for name in names)


def test_ordinary_names_are_kept_and_long_paths_refused() -> None:
    for name in ("größer/日本.txt", "with blank", "-rf", "a\\b", "~", ".hidden"):
        assert safe_path(name) == name
    with pytest.raises(Unreadable, match="path may have 2,000 bytes"):
        safe_path("a/" * 1500 + "b")


def test_a_zip_made_with_backslashes_has_directories(tmp_path: Path) -> None:
    data = zipped({"in@two.txt": b"two"}).replace(b"in@two", b"in\\two")
    assert unpack(written(tmp_path, data), "zip", tmp_path / "out") == ["in/two.txt"]


# Bombs


def bomb(format: str, size: int) -> bytes:
    """Zeros, which compress to next to nothing."""
    if format == "zip":
        return zipped({"zeros": bytes(size)})
    if format.startswith("tar"):
        return COMPRESS[format[4:]](tarred({"zeros": bytes(size)}))
    return COMPRESS[format](bytes(size))


COMPRESSED = [each for each in FORMATS if each != "tar"]


@pytest.mark.parametrize("format", COMPRESSED)
def test_what_grows_too_much_is_a_bomb(tmp_path: Path, format: str) -> None:
    path = written(tmp_path, bomb(format, 8 << 20))
    for read in (lambda: listing(path, format), lambda: unpack(path, format, tmp_path / "out")):
        with pytest.raises(Bomb, match="may unpack to 200 times its size"):
            read()
    assert tree(tmp_path / "out") == {}


@pytest.mark.parametrize("format", COMPRESSED)
def test_what_is_small_is_none(tmp_path: Path, format: str) -> None:
    path = written(tmp_path, bomb(format, HARMLESS - (20 << 10)))
    assert listing(path, format).total == HARMLESS - (20 << 10)
    assert len(unpack(path, format, tmp_path / "out")) == 1


@pytest.mark.parametrize("format", FORMATS)
def test_every_limit_is_kept(tmp_path: Path, format: str) -> None:
    data = ARCHIVES[format]
    path = written(tmp_path, data)
    single = format in COMPRESS
    for limits, said in (
        (Limits(members=0 if single else 1), "may have . members. Got: more"),
        (Limits(member_bytes=2), "a member may have 2 bytes. Got: 3 or more"),
        (Limits(bytes=2), "an archive may unpack to 2 bytes. Got: "),
    ):
        with pytest.raises(Bomb, match=said):
            listing(path, format, limits)
        with pytest.raises(Bomb, match=said):
            unpack(path, format, tmp_path / "out", limits)
        assert tree(tmp_path / "out") == {}


def test_directories_are_members_that_nobody_counted(tmp_path: Path) -> None:
    path = written(tmp_path, zipped({f"{number}/" + "a/" * 30: "" for number in range(9)}))
    assert unpack(path, "zip", tmp_path / "out", Limits(members=9)) == []
    path = written(tmp_path, zipped({f"{number}/" + "a/" * 9 + "b": "" for number in range(9)}))
    with pytest.raises(Bomb, match="may have 89 directories"):
        unpack(path, "zip", tmp_path / "out", Limits(members=89))
    assert list((tmp_path / "out").iterdir()) == []
    assert len(unpack(path, "zip", tmp_path / "out", Limits(members=90))) == 9


def test_archives_may_lie_only_so_deep_in_each_other(tmp_path: Path) -> None:
    data, limits = b"the kernel", Limits(depth=3)
    for number in range(5):
        data = zipped({f"{number}.zip": data})
    path = written(tmp_path, data)
    for depth in range(3):
        (name,) = unpack(path, "zip", tmp_path / f"out{depth}", limits, depth)
        path = tmp_path / f"out{depth}" / name
    with pytest.raises(Bomb, match="archives may lie 3 deep in each other. Got: 4"):
        unpack(path, "zip", tmp_path / "out3", limits, 3)
    assert not (tmp_path / "out3").exists()


@pytest.mark.parametrize("claimed", [0, 1, 100])
def test_the_size_that_a_zip_states_is_not_believed(tmp_path: Path, claimed: int) -> None:
    size = 4 << 20
    data = zipped({"zeros": bytes(size)}).replace(
        size.to_bytes(4, "little"), claimed.to_bytes(4, "little")
    )
    path = written(tmp_path, data)
    assert listing(path, "zip").total == claimed
    with pytest.raises(Unreadable):
        unpack(path, "zip", tmp_path / "out")
    assert tree(tmp_path / "out") == {}


def test_members_that_share_their_data_are_counted_each(tmp_path: Path) -> None:
    kernel, names = bytes(256 << 10), [f"{number:04}" for number in range(40)]
    whole = zipped({names[0]: kernel})
    directory = whole.index(b"PK\x01\x02")
    end = whole.index(b"PK\x05\x06")
    entry = whole[directory:end]
    entries = b"".join(entry.replace(names[0].encode(), name.encode()) for name in names)
    count = len(names).to_bytes(2, "little")
    size = len(entries).to_bytes(4, "little")
    tail = whole[end : end + 8] + count * 2 + size + whole[end + 16 :]
    path = written(tmp_path, whole[:directory] + entries + tail)
    assert len(zipfile.ZipFile(path).namelist()) == 40
    for read in (lambda: listing(path, "zip"), lambda: unpack(path, "zip", tmp_path / "out")):
        with pytest.raises(Unreadable):
            read()


def test_a_directory_of_a_zip_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path, zipped({f"{number:0>60}": b"" for number in range(100)}))
    with pytest.raises(Bomb, match="the directory of a zip may have 1,024 bytes"):
        listing(path, "zip", Limits(members=2))


def test_a_sparse_member_is_counted_by_what_it_becomes(tmp_path: Path) -> None:
    info = tarfile.TarInfo("sparse")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"00000000000\0" + b"00000000000\0"
    header[483:495] = b"%011o\0" % (64 << 20)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = written(tmp_path, bytes(header) + bytes(1024))
    assert sniff(path).format == "tar"
    for read in (lambda: listing(path, "tar"), lambda: unpack(path, "tar", tmp_path / "out")):
        with pytest.raises(Bomb, match="200 times its size"):
            read()
    assert tree(tmp_path / "out") == {}


@pytest.mark.parametrize("type", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_name_in_a_tar_does_not_fill_the_memory(tmp_path: Path, type: bytes) -> None:
    info = tar_member("name", type)
    info.size = 64 << 20
    data = gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(64 << 20))
    path = written(tmp_path, data)
    with pytest.raises(Bomb, match="what names a member may have 262,144 bytes. Got: 67,108,864"):
        listing(path, "tar.gz")


def test_what_is_skipped_is_decompressed_and_counted(tmp_path: Path) -> None:
    info = tar_member("unknown", b"Z")
    info.size = 64 << 20
    data = bz2.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(64 << 20) + bytes(1024))
    path = written(tmp_path, data)
    with pytest.raises(Bomb, match="200 times its size"):
        listing(path, "tar.bz2")


# Damage


@pytest.mark.parametrize("format", FORMATS)
def test_an_archive_cut_short_is_unreadable(tmp_path: Path, format: str) -> None:
    data = ARCHIVES[format]
    size = len(data) - 1 if format != "tar" else 512 + 2
    for end in (0, 5, size // 2, size):
        path = written(tmp_path, data[:end])
        with pytest.raises(Unreadable):
            listing(path, format)
        with pytest.raises(Unreadable):
            unpack(path, format, tmp_path / "out")
        assert tree(tmp_path / "out") == {}


def test_a_tar_cut_within_its_last_member_is_unreadable(tmp_path: Path) -> None:
    data = tarred({"a": b"a", "b": bytes(100_000)})
    path = written(tmp_path, data[:60_000])
    with pytest.raises(Unreadable, match="unexpected end of data"):
        listing(path, "tar")
    with pytest.raises(Unreadable, match="unexpected end of data"):
        unpack(path, "tar", tmp_path / "out")
    assert tree(tmp_path / "out") == {}


def test_an_encrypted_member_can_be_listed_and_not_unpacked(tmp_path: Path) -> None:
    data = bytearray(ARCHIVES["zip"])
    for mark, at in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        start = data.index(mark)
        data[start + at] |= 1
    path = written(tmp_path, bytes(data))
    assert len(listing(path, "zip").members) == 2
    with pytest.raises(Unreadable, match=r"a member is encrypted. Got: one\.txt"):
        unpack(path, "zip", tmp_path / "out")


def test_a_wrong_checksum_is_damage(tmp_path: Path) -> None:
    data = zipped({"a": b"right", "b": b"right"}, zipfile.ZIP_STORED)
    path = written(tmp_path, data.replace(b"right", b"wrong", 1))
    with pytest.raises(Unreadable, match="Bad CRC-32"):
        unpack(path, "zip", tmp_path / "out")


def test_what_is_no_archive_here_is_a_mistake(tmp_path: Path) -> None:
    path = written(tmp_path, b"")
    with pytest.raises(ValueError, match="format is one of .* Got: 'rar'"):
        listing(path, "rar")
    with pytest.raises(ValueError, match="Got: 'rar'"):
        unpack(path, "rar", tmp_path / "out")


def test_a_disk_that_is_full_is_not_the_archives_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, ARCHIVES["zip"])

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(path, "zip", tmp_path / "out")


def test_limits_have_the_usual_values() -> None:
    assert attrs.asdict(Limits()) == {
        "members": 10_000,
        "bytes": 1 << 30,
        "ratio": 200,
        "depth": 4,
        "member_bytes": 256 << 20,
    }
