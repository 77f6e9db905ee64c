"""Items that nobody had yet, placed by what they are: their title and genres.

Beside the log may lie a table of items: ``items.csv``, ``items.parquet`` or MovieLens'
``movies.csv``, with ``id`` (or ``item``, ``movieId``), ``title`` and ``genres``. A text encoder
that learns no further turns each line into a vector; what is learnt is a linear map from there to
the vectors that the network has learnt for the items of the log (as van den Oord et al. 2013, *Deep
content-based music recommendation*). So new items stand near those that are like them.

Letters: ``V`` items of the log, ``N`` new ones, ``E`` width of the text's vectors, ``D`` of items'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from model_builder.errors import DataFault, Fault
from model_builder.recsys.transformer import NextItemNetwork

NAMES = ("items.csv", "items.parquet", "movies.csv")
"""Of the table, in the order in which they are looked for."""

_IDS = ("id", "item", "item_id", "itemid", "movieid")
_TEXTS = ("title", "name", "genres", "genre", "category", "description")

PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Of these the left-out items choose the ridge's."""

_RARE = 0.25
"""New items are as likely beforehand as the usual one among this share of the least popular."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Described:
    """The items that a table describes, those of the log and new ones."""

    known: npt.NDArray[np.int64]
    """``(described,)``, numbers in the catalogue, from 1."""
    known_texts: tuple[str, ...]
    new_ids: tuple[str, ...]
    """Of items that are not in the log, sorted."""
    new_texts: tuple[str, ...]


def place_new_items(
    network: NextItemNetwork, item_ids: tuple[str, ...], data: Path, base: str
) -> tuple[NextItemNetwork, tuple[str, ...], str]:
    """Return the network and its catalogue with the items that only the table names.

    Args:
        network: Has learnt.
        item_ids: Its catalogue.
        data: The log, or its folder.
        base: The text encoder.

    Returns:
        The network, the catalogue, and what was done, in words.

    Raises:
        DataFault: If there is no table, or no encoder.
    """
    table = find_table(data)
    if table is None:
        expected = f"{' or '.join(NAMES)} beside the log, for --base {base}"
        raise DataFault([Fault(data.name, expected, "none")])
    items = read_table(table, item_ids)
    said = f"{table.name} describes {len(items.known)} of {len(item_ids)} items of the log"
    if not items.new_ids or len(items.known) < 2:
        return network, item_ids, f"{said}; no new item is placed by its text"
    vectors = encoded(base, items.known_texts + items.new_texts)
    count = len(items.known)
    grown = with_new_items(network, items.known, vectors[:count], vectors[count:])
    done = f"{said}, and {len(items.new_ids)} new ones, which are placed by their texts"
    return grown, (*item_ids, *items.new_ids), done


def find_table(data: Path) -> Path | None:
    """Return the table beside a log, or in the log's folder; ``None`` if there is none."""
    folder = data if data.is_dir() else data.parent
    places = (folder / name for name in NAMES)
    return next((place for place in places if place.is_file() and place != data), None)


def read_table(path: Path, item_ids: Sequence[str]) -> Described:
    """Read the table; of an ID that stands there twice the first line counts.

    Raises:
        DataFault: If it cannot be read, or has no column of IDs or of texts.
    """
    try:
        parquet = path.suffix == ".parquet"
        cells = pl.read_parquet(path) if parquet else pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        found = str(error).splitlines()[0]
        raise DataFault([Fault(path.name, "a readable table of items", found)]) from error
    roles = {name.lower(): name for name in cells.columns}
    ids = [roles[name] for name in _IDS if name in roles]
    texts = [roles[name] for name in _TEXTS if name in roles]
    faults = [
        Fault(path.name, f"a column named one of {', '.join(wanted)}", ", ".join(cells.columns))
        for wanted, found in ((_IDS, ids), (_TEXTS, texts))
        if not found
    ]
    if faults:
        raise DataFault(faults)
    said = pl.concat_str(
        [pl.col(name).cast(pl.String).str.replace_all("|", ", ", literal=True) for name in texts],
        separator=". ",
        ignore_nulls=True,
    )
    rows = cells.select(id=pl.col(ids[0]).cast(pl.String).str.strip_chars(), text=said)
    rows = rows.filter(pl.col("id").is_not_null() & (pl.col("text").str.len_chars() > 0))
    described = dict(rows.unique("id", keep="first", maintain_order=True).iter_rows())
    known = [(number, described[i]) for number, i in enumerate(item_ids, 1) if i in described]
    new = sorted(described.keys() - set(item_ids))
    return Described(
        known=np.array([number for number, _ in known], np.int64),
        known_texts=tuple(text for _, text in known),
        new_ids=tuple(new),
        new_texts=tuple(described[i] for i in new),
    )


def encoded(base: str, texts: Sequence[str]) -> Floats:
    """Return ``(len(texts), E)`` float32, each of length 1, by a sentence-transformers model.

    Args:
        base: Its folder, or its name on the hub.
        texts: Titles with genres.

    Raises:
        DataFault: If there is no such model.
    """
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(base, device="cpu")
    except (OSError, ValueError) as error:
        found = str(error).splitlines()[0]
        raise DataFault([Fault(base, "a sentence-transformers model (base)", found)]) from error
    return model.encode(
        list(texts), batch_size=64, normalize_embeddings=True, show_progress_bar=False
    )


@torch.no_grad()
def with_new_items(
    network: NextItemNetwork,
    known: npt.NDArray[np.int64],
    known_vectors: Floats,
    new_vectors: Floats,
) -> NextItemNetwork:
    """Return the network with ``N`` more items at the end of its catalogue.

    Args:
        network: Has learnt; is left as it is.
        known: ``(n,)``, numbers of the items of the log that are described.
        known_vectors: ``(n, E)``, of their texts.
        new_vectors: ``(N, E)``, of the texts of the new items.
    """
    learnt = network.items.weight.detach().numpy()
    chance = network.popularity.numpy()
    # An item that was had often has a vector to learn from; one that was had once, hardly.
    trust = np.expm1(chance[known]).clip(1)
    placed = ridge(known_vectors, learnt[known], trust, new_vectors)
    grown = NextItemNetwork(
        torch.zeros(len(learnt) + len(placed)),
        width=learnt.shape[1],
        layers=len(network.blocks),
        heads=network.blocks[0].heads,
        history_length=network.history_length,
        dropout=network.dropout,
        negatives=network.negatives,
        label_smoothing=network.label_smoothing,
    )
    rare = network.bias[1:].quantile(_RARE / 2)
    more = {
        "items.weight": torch.from_numpy(placed),
        "bias": rare.expand(len(placed)),
        "popularity": torch.zeros(len(placed)),
    }
    state = network.state_dict()
    grown.load_state_dict(
        {name: torch.cat([value, more[name]]) if name in more else value
         for name, value in state.items()}
    )  # fmt: skip
    return grown.eval()


def ridge(known: Floats, wanted: Floats, weights: Floats, new: Floats) -> Floats:
    """Return ``(N, D)``: what a linear map that fits ``wanted`` says of ``new``.

    Args:
        known: ``(n, E)``.
        wanted: ``(n, D)``.
        weights: ``(n,)``, how much each counts.
        new: ``(N, E)``.
    """
    share = weights / weights.mean()
    mean = np.average(wanted, axis=0, weights=share)
    middle = np.average(known, axis=0, weights=share)
    inputs, outputs = known - middle, wanted - mean
    # By the eigenvectors, all penalties and all errors of items left out come at once.
    weighed = inputs * np.sqrt(share)[:, None]
    left, sizes, right = np.linalg.svd(weighed.astype(np.float64), full_matrices=False)
    projected = left.T @ (outputs * np.sqrt(share)[:, None])
    errors = []
    for penalty in PENALTIES:
        kept = sizes**2 / (sizes**2 + penalty)
        residual = outputs * np.sqrt(share)[:, None] - left @ (kept[:, None] * projected)
        leverage = (left**2 * kept).sum(1)
        errors.append(float(((residual / (1 - leverage).clip(1e-6)[:, None]) ** 2).sum()))
    penalty = PENALTIES[int(np.argmin(errors))]
    map_ = right.T @ ((sizes / (sizes**2 + penalty))[:, None] * projected)
    return ((new - middle) @ map_ + mean).astype(np.float32)
