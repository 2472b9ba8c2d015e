"""Some fifty programs in processes that are really killed, on SQLite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mediators.testing import kill_at_commit
from tests.mediators.torture.programs import instances

if TYPE_CHECKING:
    from mediators.testing import Life

SCRIPT = Path(__file__).with_name("killed.py")
GROUPS = 5
PROGRAMS = 10


def drawn() -> list[list[dict[str, Any]]]:
    """The same programs each time."""
    found: list[list[dict[str, Any]]] = []

    @settings(
        max_examples=GROUPS,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(st.lists(instances(), min_size=PROGRAMS, max_size=PROGRAMS))
    def run(programs: list[dict[str, Any]]) -> None:
        found.append(programs)

    run()
    return found


@pytest.mark.parametrize("group", range(GROUPS))
def test_j2_programs_outlive_sigkill_at_any_commit(
    group: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    programs = tmp_path / "programs.json"
    programs.write_text(json.dumps(drawn()[group]))
    times = 20 if request.config.getoption("--torture") else 3
    deaths = 0
    for n in range(times):
        commit = (group * 5 + n * 7) % 19 + 2
        life = run(programs, tmp_path, commit, "before" if (group + n) % 2 else "after")
        deaths += life.killed
    life = run(programs, tmp_path, 0, "after")
    assert life.output.startswith("checked ")
    assert deaths >= 1


def run(programs: Path, folder: Path, commit: int, when: Any) -> Life:
    home = str(SCRIPT.parents[3])
    environment = {"PYTHONPATH": home}
    return kill_at_commit(
        SCRIPT, commit, programs, folder, when=when, environment=environment, timeout=60
    )
