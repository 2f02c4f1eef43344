"""A machine without a network and with an empty cache of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

import pytest


def no_network(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Set what the hub's package looks at; it has read the environment already."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
