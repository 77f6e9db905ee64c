"""A Dockerfile, as far as a test needs it: stages and their instructions."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """What follows one FROM."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [text for word, text in self.steps if word == instruction]

    def copies(self) -> Iterator[tuple[list[str], str]]:
        """What is copied from the sources of this project, and where to."""
        for text in self.all("COPY"):
            *sources, target = shlex.split(text)
            if not any(one.startswith("--from") for one in sources):
                yield sources, target


def read(path: Path) -> tuple[dict[str, str], list[Stage]]:
    """The default of every ARG, and the stages."""
    text = re.sub(r"(?m)^\s*#.*\n", "", path.read_text())
    text = re.sub(r"\\\n", "", text)
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, rest = line.split(maxsplit=1)
        if word == "ARG":
            name, _, value = rest.partition("=")
            arguments[name] = value
        elif word == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(base, name))
        else:
            stages[-1].steps.append((word, rest))
    return arguments, stages


def words(text: str) -> list[str]:
    """The words of an instruction in JSON form."""
    return [str(one) for one in json.loads(text[text.index("[") :])]
