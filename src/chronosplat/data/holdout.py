"""Objects that stay out of training data: those of published benchmarks, and those of the user's lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chronosplat.shapes import InputError

# The seven test objects of Consistent4D; six of them are in Objaverse (its repository, test_dataset_uid.txt)
CONSISTENT4D = frozenset({
    "ba7b382c918b40e6b07011da4ff3ebc0",
    "29c26c661f1c47aabb245c9b2f896455",
    "53abad43280a4b7ab26bd0e6b8dea62f",
    "22bbb0b7ca4d4d63b47b1367984aa7ce",
    "26adfd631730494ab0fc80c806eada77",
    "a1c936d72a9f4fa0ac15033339bd6efe",
    "9fea6ffd67b840cb970f5b4570794709",
})  # fmt: skip


def held_out(lists: Sequence[str] = ()) -> frozenset[str]:
    """Return the uids to leave out: Consistent4D's, and those of text files with one uid per line.

    Args:
        lists: files; empty lines and lines that begin with # are skipped, words after the uid are comments.

    Raises:
        InputError: a file cannot be read.
    """
    uids = set(CONSISTENT4D)
    for name in lists:
        try:
            lines = Path(name).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{name}: the skip list cannot be read ({error}); give a text file with one uid per line") from error
        uids |= {words[0] for line in lines if (words := line.split()) and not words[0].startswith("#")}
    return frozenset(uids)
