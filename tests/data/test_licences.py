"""Licences: their spellings, and what the filter lets through."""

from __future__ import annotations

import pytest

from chronosplat.data.licences import DEFAULT_LICENCES, OWN, is_allowed, licence_family

SPELLINGS = {
    "by": "CC-BY",
    "CC-BY-4.0": "CC-BY",
    "CC BY 4.0": "CC-BY",
    "CC Attribution": "CC-BY",
    "Creative Commons Attribution": "CC-BY",
    "CC-BY-4.0 (http://creativecommons.org/licenses/by/4.0/)": "CC-BY",
    "https://creativecommons.org/licenses/by/3.0/": "CC-BY",
    "by-nc-sa": "CC-BY-NC-SA",
    "CC Attribution-NonCommercial-ShareAlike": "CC-BY-NC-SA",
    "CC Attribution-NoDerivs": "CC-BY-ND",
    "Creative Commons Attribution-ShareAlike 4.0 International": "CC-BY-SA",
    "cc0": "CC0",
    "CC0-1.0": "CC0",
    "CC0 Public Domain": "CC0",
    "http://creativecommons.org/publicdomain/zero/1.0/": "CC0",
    "MIT": "MIT",
    "Apache-2.0": "Apache-2.0",
}
UNKNOWN = (
    "",
    "free",
    "Free Standard",
    "by-whatever",
    "CC-BY-4.0 with trademark limitations (Cesium logo)",
    "by or by-nc",
    "CC-BY-NC-4.0 (http://creativecommons.org/licenses/by/4.0/)",  # the name and the address disagree
    "not CC0",
)


@pytest.mark.parametrize(("text", "family"), SPELLINGS.items())
def test_spellings_have_a_family(text: str, family: str) -> None:
    assert licence_family(text) == family
    assert licence_family(f"  {text.upper()} ") == family


@pytest.mark.parametrize("text", UNKNOWN)
def test_what_is_not_known_for_certain_has_none(text: str) -> None:
    assert licence_family(text) == ""
    assert not is_allowed(text, DEFAULT_LICENCES)


def test_the_default_lets_through_cc0_and_cc_by_alone() -> None:
    passed = {family for text, family in SPELLINGS.items() if is_allowed(text, DEFAULT_LICENCES)}
    assert passed == {"CC0", "CC-BY"}


def test_words_of_a_source_can_be_allowed() -> None:
    odd = UNKNOWN[4]
    assert is_allowed(odd, (*DEFAULT_LICENCES, odd))
    assert is_allowed("MIT", ("MIT",))
    assert not is_allowed(OWN, DEFAULT_LICENCES)  # a source cannot call its objects the user's own
