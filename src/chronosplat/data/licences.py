"""Licences of objects: one name for the many spellings of metadata, and the filter that a data set passes through.

A spelling that is not known for certain has no family, so that the filter refuses it unless it is allowed word for word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

OWN = "own"  # an object of the user's own folder that states no licence
DEFAULT_LICENCES = ("CC0", "CC-BY")

# Creative Commons elements in their canonical order; "Free Standard" and "Editorial" of Sketchfab are no open licences
CREATIVE_COMMONS = {"by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd"}
WORDS = {"attribution": "by", "sharealike": "sa", "share alike": "sa", "noncommercial": "nc", "non commercial": "nc", "noderivatives": "nd",
         "noderivs": "nd", "no derivatives": "nd"}  # fmt: skip
PLAIN = {"mit": "MIT", "mit license": "MIT", "apache-2.0": "Apache-2.0", "apache license 2.0": "Apache-2.0", "bsd-3-clause": "BSD-3-Clause"}
ZERO = {"cc0", "cc0-1.0", "cc0 1.0", "cc0 public domain", "public domain", "zero", "cc0 1.0 universal", "creative commons zero"}


def licence_family(text: str) -> str:
    """Return the family of a licence: ``CC0``, ``CC-BY``, ``CC-BY-NC-SA``, ``MIT``, ...; empty if the spelling is unknown.

    Reads the slugs and labels of Sketchfab (``by``, ``CC Attribution-NonCommercial``), SPDX names, and addresses of
    creativecommons.org, with or without the name before them. Words that restrict a licence further make it unknown.
    """
    plain = text.strip().lower()
    if match := re.fullmatch(r"(.*?)\(?\s*https?://creativecommons\.org/(licenses|publicdomain)/([a-z-]+)/[\d.]+/?\S*?\)?", plain):
        named, addressed = match[1].strip(" (:,"), match[3]
        family = "CC0" if match[2] == "publicdomain" and addressed == "zero" else _creative_commons(addressed)
        return family if not named or licence_family(named) == family else ""
    if plain in ZERO:
        return "CC0"
    if plain in PLAIN:
        return PLAIN[plain]
    return _creative_commons(plain)


def _creative_commons(plain: str) -> str:
    """Return the family of a slug, an SPDX name or a label such as ``cc attribution-sharealike``."""
    short = re.sub(r"^(creative commons|cc)[\s-]*", "", plain)
    short = re.sub(r"[\s-]*(\d\.\d)?[\s-]*(international|unported|generic)?$", "", short)
    for word, element in WORDS.items():
        short = short.replace(word, element)
    short = re.sub(r"[\s-]+", "-", short)
    return f"CC-{short.upper()}" if short in CREATIVE_COMMONS else ""


def is_allowed(licence: str, allowed: Sequence[str]) -> bool:
    """Whether an object with this licence passes: by its family, or word for word."""
    return licence in allowed or ((family := licence_family(licence)) != "" and family in allowed)
