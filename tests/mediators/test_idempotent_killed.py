"""W11 when the process dies by kill -9: effect and answer are both there, or both not."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from actors import Actor, Call, handles, open_system
from mediators.idempotency.middleware import Idempotent, Settle, Settled
from mediators.testing import call_with_key

TABLES = """
CREATE TABLE IF NOT EXISTS accounts (id TEXT PRIMARY KEY, balance INTEGER NOT NULL);
INSERT OR IGNORE INTO accounts VALUES ('alice', 100);
"""

CHILD = '''
import os, signal, sys
import attrs, trio
from actors import Actor, Call, handles, open_system
from mediators.idempotency import keystore
from mediators.idempotency.middleware import Idempotent
from mediators.testing import call_with_key

path, moment = sys.argv[1:]
TABLES = """{tables}"""

def die():
    os.kill(os.getpid(), signal.SIGKILL)

@attrs.frozen
class Charge(Call[int]):
    amount: int

class Bank(Actor):
    middleware = [Idempotent(path, schema=TABLES)]

    @handles
    def charge(self, message: Charge) -> int:
        db = self.envelope.transaction
        db.execute("UPDATE accounts SET balance = balance - ?", (message.amount,))
        if moment == "after the effect":
            die()
        return message.amount

class Dying(keystore.KeyStore):
    def remember(self, *args, **kwargs):
        if moment == "between two commits":
            self.commit()
            die()
        super().remember(*args, **kwargs)
        die()

    def commit(self):
        if moment == "before the commit":
            die()
        super().commit()

from mediators.idempotency import middleware as idempotency
idempotency.KeyStore = Dying

async def main():
    async with open_system() as system:
        bank = await system.start(Bank)
        await call_with_key(bank, Charge(10), "k")

trio.run(main)
'''


def state(path: Path) -> tuple[int, list[tuple[str, str]]]:
    with closing(sqlite3.connect(path)) as db:
        (balance,) = db.execute("SELECT balance FROM accounts").fetchone()
        return balance, db.execute("SELECT key, outcome FROM understudy_keys").fetchall()


def killed(path: Path, moment: str) -> tuple[int, list[tuple[str, str]]]:
    """What is on disk when the process was killed at a moment."""
    code = CHILD.replace("{tables}", TABLES)
    root = Path(__file__).parent.parent.parent
    child = subprocess.run(
        [sys.executable, "-c", code, str(path), moment],
        check=False,
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    return state(path)


@attrs.frozen
class Charge(Call[int]):
    amount: int


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("after the effect", (100, [])),
        ("before the commit", (100, [])),
        ("after the commit", (90, [("k", "answered")])),
    ],
)
def test_w11_after_kill_9_effect_and_answer_are_both_there_or_both_not(
    tmp_path: Path, moment: str, expected: object
) -> None:
    assert killed(tmp_path / "a.db", moment) == expected


def test_w11_with_two_commits_the_effect_is_there_without_its_answer(tmp_path: Path) -> None:
    """The mechanism removed: this is what a retry would charge again."""
    assert killed(tmp_path / "a.db", "between two commits") == (90, [])


async def test_w9_the_lock_of_a_killed_process_is_free_and_its_key_can_be_settled(
    tmp_path: Path,
) -> None:
    killed(tmp_path / "a.db", "before the commit")

    class Bank(Actor):
        middleware = [Idempotent(tmp_path / "a.db", schema=TABLES)]

        @handles
        def charge(self, message: Charge) -> int:
            self.envelope.transaction.execute("UPDATE accounts SET balance = balance - 10")
            return 10

    async with open_system() as system:
        bank = await system.start(Bank)
        assert await call_with_key(bank, Charge(10), "k") == 10
        assert await bank.call(Settle("k")) == Settled("answered", 10)
    assert state(tmp_path / "a.db") == (90, [("k", "answered")])
