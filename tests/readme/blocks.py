"""The code blocks of the README and of the pages in docs/."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line of its first line of code, its language and its text."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        """For a message."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, language: str) -> Iterator[Block]:
    """The blocks of a page in one language; "" is that of blocks without one."""
    text = page.read_text()
    for found in re.finditer(r"^```(\w*)\n(.*?)^```", text, re.M | re.S):
        if found[1] == language:
            yield Block(page, text.count("\n", 0, found.start(2)) + 1, found[1], found[2])


def commands(page: Path) -> list[tuple[str, str]]:
    """The chronosplat commands of a page, with their places: lines of its blocks, and code in its text.

    In the text, ``...`` stands for the command before it in the same table.
    """
    found = [
        (block.name, line.strip())
        for language in ("bash", "")
        for block in blocks(page, language)
        for line in joined(block.text).splitlines()
    ]
    before = ""
    text = re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), page.read_text(), flags=re.M | re.S)
    for number, line in enumerate(text.splitlines(), 1):
        for code in re.findall(r"`([^`]+)`", line):
            code = re.sub(r"^\.\.\.(?= -o)", "chronosplat export scene.safetensors", code)
            code = re.sub(r"^\.\.\.(?= --)", before, code)
            before = code if code.startswith("chronosplat ") and " --" not in code else before
            found.append((f"{page.relative_to(ROOT)}:{number}", code))
    return [(place, command) for place, command in found if re.match(r"chronosplat \S", command)]


def joined(text: str) -> str:
    """Lines that end with a backslash, joined with the next."""
    return text.replace("\\\n", " ")
