"""Test tools for trees: actors that are supervised while a test runs.

With pytest the fixture ``start_supervised`` is there once understudy is installed, beside those of
:mod:`actors.testing`. What a test starts with it is restarted as its spec says, and is stopped at
the end of the test, one after another, the last started first; the next test begins when everything
has ended:

>>> async def test_a_ledger_comes_back(system, start_supervised):      # doctest: +SKIP
...     ledger = await start_supervised(Child(Ledger, name="ledger"))
...     ledger.cast(Crash())
...     await ledger.wait()
...     assert (await ledger.call(Entries())) == []

Without pytest: ``async with StartSupervised(system) as start_supervised``.
"""

from supervisors.testing.supervised import StartSupervised

__all__ = ["StartSupervised"]
