"""A state machine: a light for pedestrians, who may ask for green and have to wait for it.

Run it: ``python -m examples.traffic_light``
"""

from __future__ import annotations

from typing import Any

import attrs
import trio

from actors import Call, StateMachine, enter, handles, open_system


@attrs.frozen
class Push(Call[str]):
    """The button. Answered when one may walk."""


@attrs.frozen
class TimeIsUp:
    """The light to itself."""


@attrs.define
class TrafficLight(StateMachine):
    """Red until somebody pushes; then it takes its time, and is green for a while."""

    initial = "red"

    pace: float = 1.0

    @handles(state=("red", "soon"))
    def wait(self, _: Push) -> Any:
        """Postponed: it is answered in the next state that has an answer."""
        self.postpone()
        self.become("soon")

    @handles(state="green")
    def walk(self, _: Push) -> str:
        """Also for those who have pushed before."""
        return "walk"

    @enter("red", "soon", "green")
    def shine(self, _: str) -> None:
        """Says so; and all but red last for a while."""
        print(f"  {self.machine_state}")
        if self.machine_state != "red":
            self.state_timeout(self.pace, TimeIsUp())

    @handles(state="soon")
    def let_walk(self, _: TimeIsUp) -> None:
        """The cars have stopped."""
        self.become("green")

    @handles(state="green")
    def let_drive(self, _: TimeIsUp) -> None:
        """Until somebody pushes again."""
        self.become("red")


async def main(pace: float = 0.2) -> None:
    """Two pedestrians, one after the other."""
    async with open_system() as system:
        light = await system.start(TrafficLight, pace)
        for pedestrian in ("Ada", "Grace"):
            await trio.sleep(1.5 * pace)
            print(f"{pedestrian} pushes")
            print(f"{pedestrian}:", await light.call(Push()))


if __name__ == "__main__":
    trio.run(main)
