"""Ten thousand sentences from film reviews with what people felt about each (Hutto & Gilbert 2014).

They lie in the source archive of the package vaderSentiment (MIT), not in what it installs::

    pip download --no-deps --no-binary :all: vaderSentiment==3.3.2
"""

from __future__ import annotations

import random
import tarfile
from pathlib import Path

LABELS = ("negative", "positive")
TEST, VALIDATION = 1500, 1000
_INNER = "hutto_ICWSM_2014.tar.gz"
_FILE = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
_CLEAR = 0.5  # of 4: what is nearer to 0 is neither

Texts = tuple[list[str], list[int]]


def snippets(archive: Path, rows: int) -> tuple[Texts, Texts, Texts]:
    """Return texts and their labels to learn from, to validate by and to test by.

    Args:
        archive: The package's source archive.
        rows: How many to learn from.
    """
    with tarfile.open(archive) as outer:
        name = next(each for each in outer.getnames() if each.endswith(_INNER))
        with tarfile.open(fileobj=outer.extractfile(name)) as inner:
            file = inner.extractfile(_FILE)
            assert file is not None
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    rated = [line.split("\t", 2)[1:] for line in lines if line.count("\t") >= 2]
    found = [(text, int(float(felt) > 0)) for felt, text in rated if abs(float(felt)) >= _CLEAR]
    random.Random(0).shuffle(found)
    test, rest = found[:TEST], found[TEST:]
    validation, train = rest[:VALIDATION], rest[VALIDATION:][:rows]
    return _texts(train), _texts(validation), _texts(test)


def _texts(pairs: list[tuple[str, int]]) -> Texts:
    return [text for text, _ in pairs], [label for _, label in pairs]
