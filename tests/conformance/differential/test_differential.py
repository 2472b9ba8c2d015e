"""Random trees and what is done to them, on OTP's ``supervisor`` and on ours.

Compared after every operation: who was started and stopped, in which order; what the administration
answered; the whole tree. ``UNDERSTUDY_SCRIPTS=10000`` plays more scripts.
"""

from __future__ import annotations

import os

import pytest

from tests.conformance.differential import ours
from tests.conformance.differential.compare import difference, shrunk
from tests.conformance.differential.generate import script
from tests.conformance.differential.otp import Otp

SCRIPTS = int(os.environ.get("UNDERSTUDY_SCRIPTS", "300"))
BATCH = 50


@pytest.mark.parametrize("first", range(0, SCRIPTS, BATCH))
def test_ours_does_what_otp_does(otp: Otp, first: int) -> None:
    for seed in range(first, min(first + BATCH, SCRIPTS)):
        found = difference(script(seed), otp.play, ours.play)
        if found is not None:
            pytest.fail(f"seed {seed}\n{shrunk(found, otp.play, ours.play)}", pytrace=False)
