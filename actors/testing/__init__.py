"""Test tools: a virtual clock, probes, and a pytest plugin that runs tests inside a system.

With pytest the plugin is there once understudy is installed. A coroutine test that asks for the
fixture ``system`` runs inside that system, on a virtual clock, and the system is stopped in order
at its end:

>>> async def test_a_withdrawal_is_announced(system):       # doctest: +SKIP
...     probe = system.probe()
...     account = await system.start(Account, 10, probe.ref)
...     await account.call(Withdraw(3))
...     assert (await probe.expect(BalanceChanged)).balance == 7

===========================  ======================================================================
``system``                   fixture: a system, open while the test runs
``virtual_clock``            fixture: its :class:`VirtualClock`
``system.probe()``           an actor that records what it is sent, see :class:`Probe`
:func:`dead_letters`         a list of what nobody handles
:func:`leftovers`            what a closed system still has; :func:`no_leaks` around a whole block
``@pytest.mark.understudy``  runs a coroutine test that needs none of the fixtures
===========================  ======================================================================

Without pytest: ``VirtualClock().run(main)``.
"""

from actors.testing.clock import START, VirtualClock
from actors.testing.leaks import leftovers, no_leaks, task_count, tasks
from actors.testing.letters import dead_letters
from actors.testing.probe import Probe, probe_of
from actors.testing.ways import without_caller_turns

__all__ = [
    "START",
    "Probe",
    "VirtualClock",
    "dead_letters",
    "leftovers",
    "no_leaks",
    "probe_of",
    "task_count",
    "tasks",
    "without_caller_turns",
]
