"""Workflows: what is done with a file, by what it is.

Each begins as a :class:`File`. When it is known what the file is, it goes on as one of the others,
under the same id: that of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from actors import Refusal
from examples.file_pipeline.documents import LIMIT
from examples.file_pipeline.kinds import Kind
from examples.file_pipeline.sources import Source
from examples.file_pipeline.unreadable import Undrawn, Unreadable
from examples.file_pipeline.work import (
    Describe,
    Digest,
    Discard,
    Extract,
    ListMembers,
    MakeThumbnail,
    Sniff,
    TellLanguage,
    Unpack,
)
from mediators import StepFailed, Workflow, WorkflowEnded

MEMBERS_AT_ONCE = 8
"""Files of one archive that are under way at a time."""
UNKNOWN = Kind("other", "unknown", "nobody could tell")


@attrs.frozen
class Outcome:
    """What became of a file: ``status`` is "done", "refused" by the file, or "failed".

    ``began`` and ``ended`` are seconds since 1970, ``mime`` is what its thumbnail is, and
    ``members`` what became of the files in it.
    """

    source: Source
    kind: Kind
    status: str
    reason: str | None = None
    began: float = 0.0
    ended: float = 0.0
    facts: dict[str, str] = attrs.field(factory=dict)
    mime: str | None = None
    members: list[Outcome] = attrs.field(factory=list)


@attrs.define
class File(Workflow[Outcome]):
    """Any file: what is it? What is made of it goes to the directory ``out``."""

    source: Source
    out: str

    @property
    def id(self) -> str:
        return identity(self.source)

    async def run(self) -> Outcome:
        began = self.now().timestamp()
        try:
            # No timeout: a converter that is alive is at work, and one that is not is replaced.
            kind = await self.step(Sniff(self.source.place), timeout=None)
        except (Refusal, StepFailed) as error:
            return undone(self.source, UNKNOWN, error, began, self.now().timestamp())
        known = FAMILIES[kind.family](self.source, kind, self.out, began)
        return await self.continue_as_new(known)


@attrs.define
class Known(Workflow[Outcome]):
    """A file of which it is known what it is, since the time ``began``."""

    source: Source
    kind: Kind
    out: str
    began: float

    @property
    def id(self) -> str:
        return identity(self.source)

    async def run(self) -> Outcome:
        try:
            outcome = await self.read()
        except (Refusal, StepFailed) as error:
            outcome = undone(self.source, self.kind, error)
        return attrs.evolve(outcome, began=self.began, ended=self.now().timestamp())

    async def read(self) -> Outcome:
        """What is done with it."""
        raise NotImplementedError

    def found(self, facts: dict[str, Any], **more: Any) -> Outcome:
        """It was read."""
        told = {name: str(value) for name, value in facts.items() if value not in (None, "", {})}
        return Outcome(self.source, self.kind, "done", facts=told, **more)

    def place(self, folder: str) -> str:
        """Where something that is made of this file is put."""
        key = self.source.key
        return str(Path(self.out, folder, key[:2], key))


class Document(Known):
    """What does it say, and in which language?"""

    async def read(self) -> Outcome:
        into = self.place("texts") + ".txt"
        text = await self.step(Extract(self.source.place, self.kind.format, into), timeout=None)
        language = await self.step(TellLanguage(text.file), timeout=None)
        return self.found(
            {
                "title": text.title,
                "language": language.code,
                "pages": text.pages,
                "characters": text.characters,
                "kept": f"the first {LIMIT:,}" if text.truncated else None,
                "begins": text.beginning,
                "text": Path(text.file).relative_to(self.out),
            }
        )


class Image(Known):
    """What is it like, and what does it look like?"""

    async def read(self) -> Outcome:
        facts = await self.step(Describe(self.source.place), timeout=None)
        told = {
            "pixels": f"{facts.width} x {facts.height}",
            "mode": facts.mode,
            "transparency": "yes" if facts.has_alpha else None,
            "frames": facts.frames if facts.frames > 1 else None,
            "dpi": facts.dpi and " x ".join(map(str, facts.dpi)),
            **facts.exif,
        }
        try:
            small = await self.step(
                MakeThumbnail(self.source.place, self.place("thumbnails")), timeout=None
            )
        except Undrawn as no:
            return self.found({**told, "no thumbnail": no})
        file = Path(small.file).relative_to(self.out)
        return self.found({**told, "thumbnail": file}, mime=small.mime)


class Archive(Known):
    """What is in it, and what becomes of that? Its members are workflows of their own."""

    async def read(self) -> Outcome:
        source, format = self.source, self.kind.format
        limits = source.room.limits()
        listed = await self.step(ListMembers(source.place, format, limits), timeout=None)
        edition = self.uuid().hex[:8]
        into = Path(self.out, "work", f"{source.key}-{edition}")
        try:
            found = await self.step(
                Unpack(source.place, format, str(into), limits, source.depth),
                undo=Discard(str(into)),
                timeout=None,
            )
        except (Refusal, StepFailed):
            await self.discard(into)  # what was refused is not undone, and may have been begun
            raise
        rooms = source.room.shared([each.size for each in found])
        files = [
            source.member(into, each.name, each.size, edition, room)
            for each, room in zip(found, rooms, strict=True)
        ]
        members = await self.gather(*map(self.process, files), limit=MEMBERS_AT_ONCE)
        await self.discard(into)
        return self.found(
            {"files": listed.count, "bytes": listed.bytes, "names": "\n".join(listed.names)},
            members=list(members),
        )

    async def discard(self, directory: Path) -> None:
        """Take away what was unpacked. If nobody can, it stays, and the archive is read for all
        that."""
        try:
            await self.step(Discard(str(directory)), timeout=None)
        except (Refusal, StepFailed):
            return

    async def process(self, source: Source) -> Outcome:
        """What becomes of one of its files. Whatever it is, the archive does not fail of it."""
        try:
            return await self.child(File(source, self.out))
        except WorkflowEnded as ended:
            return undone(source, UNKNOWN, ended)


class Other(Known):
    """At least: is it the same as another?"""

    async def read(self) -> Outcome:
        found = await self.step(Digest(self.source.place), timeout=None)
        return self.found({"why": self.kind.why, "sha256": found.sha256, "blake2b": found.blake2b})


FAMILIES: dict[str, type[Known]] = {
    "document": Document,
    "image": Image,
    "archive": Archive,
    "other": Other,
}
"""What a file is done with."""


def identity(source: Source) -> str:
    """The id of a file's workflow."""
    return f"{source.path}#{source.edition}" if source.edition else source.path


def undone(
    source: Source, kind: Kind, error: Exception, began: float = 0.0, ended: float = 0.0
) -> Outcome:
    """It was not read. Of an unreadable file that is the file's fault."""
    status = "refused" if isinstance(error, Unreadable) else "failed"
    return Outcome(source, kind, status, str(error), began, ended)
