"""One browser for all tests of the viewers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.viewer.kit import Browser, chromium, missing


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; the test is skipped where something is missing."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    with chromium() as started:
        yield started
