"""OTP, where it is installed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator

import pytest

from tests.conformance.differential.otp import Otp


@pytest.fixture(scope="session")
def otp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Otp]:
    """The other side, started once."""
    missing = [each for each in ("erl", "erlc") if shutil.which(each) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not found: no OTP to compare with")
    with Otp(tmp_path_factory.mktemp("differential")) as otp:
        yield otp


@pytest.fixture(autouse=True)
def no_reports() -> Iterator[None]:
    """Every crash is reported, and there are thousands."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
