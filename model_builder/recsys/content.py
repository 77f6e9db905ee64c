"""Items that nobody had yet, placed by what they are: their title and genres.

Beside the log may lie a table of items: ``items.csv``, ``items.parquet`` or MovieLens'
``movies.csv``, with ``id`` (or ``item``, ``movieId``), ``title`` and ``genres``. A text encoder
that learns no further turns each line into a vector; what is learnt is a linear map from there to
the vectors that the network has learnt for the items of the log (as van den Oord et al. 2013, *Deep
content-based music recommendation*). So new items stand near those that are like them. So do items
that are only in what is asked: of them nothing was learnt but that they were nobody's.

Letters: ``V`` items of the log, ``N`` new ones, ``E`` width of the text's vectors, ``D`` of items'.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
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

Floats = npt.NDArray[np.float32]

_RARE = 0.25
"""Placed items are as likely beforehand as the usual one among this share of the least popular."""


@dataclass(frozen=True)
class Described:
    """The items that a table describes, by what is known of them."""

    known: npt.NDArray[np.int64]
    """``(known,)``, numbers in the catalogue, from 1: of items that are learnt from."""
    known_texts: tuple[str, ...]
    cold: npt.NDArray[np.int64]
    """``(cold,)``, numbers in the catalogue: of items that nobody had in what is learnt from."""
    cold_texts: tuple[str, ...]
    new_ids: tuple[str, ...]
    """Of items that are not in the log, sorted."""
    new_texts: tuple[str, ...]


@dataclass(frozen=True)
class Placeable:
    """Described items with their texts' vectors."""

    items: Described
    known_vectors: Floats
    """``(known, E)``."""
    vectors: Floats
    """``(cold + N, E)``: of those that are to be placed."""
    said: str
    """What the table has, in words."""


def read_placeable(
    item_ids: Sequence[str],
    counts: npt.NDArray[np.int64],
    data: Path,
    base: str,
    kept: Collection[str] = (),
) -> Placeable:
    """Return what the table beside the log says of items, before anything is learnt.

    Args:
        item_ids: The catalogue.
        counts: ``(V + 1,)``, how often each item is in what is learnt from.
        data: The log, or its folder.
        base: The text encoder.
        kept: IDs that have a vector from elsewhere, and keep it.

    Raises:
        DataFault: If there is no table, or no encoder.
    """
    table = find_table(data)
    if table is None:
        expected = f"{' or '.join(NAMES)} beside the log, for --base {base}"
        raise DataFault([Fault(data.name, expected, "none")])
    items = read_table(table, item_ids, counts, kept)
    described = len(items.known) + len(items.cold)
    said = f"{table.name} describes {described} of {len(item_ids)} items of the log"
    if len(items.known) < 2:
        items = replace(items, cold=items.cold[:0], cold_texts=(), new_ids=(), new_texts=())
    texts = items.known_texts + items.cold_texts + items.new_texts
    count = len(items.known)
    # Where nothing is placed, one text tells whether there is such an encoder.
    vectors = encoded(base, texts if len(texts) > count else texts[:1])
    return Placeable(items, vectors[:count], vectors[count:], said)


def place_items(
    network: NextItemNetwork, item_ids: tuple[str, ...], found: Placeable
) -> tuple[NextItemNetwork, tuple[str, ...], str]:
    """Return the network and its catalogue with those placed that nobody had.

    Args:
        network: Has learnt.
        item_ids: Its catalogue.
        found: The described items.

    Returns:
        The network, the catalogue, and what was done, in words.
    """
    items = found.items
    if not len(found.vectors):
        return network, item_ids, f"{found.said}; no new item is placed by its text"
    grown = with_placed_items(network, items.known, found.known_vectors, items.cold, found.vectors)
    done = (
        f"{found.said}; {len(items.cold)} of them that nobody had in the training, and "
        f"{len(items.new_ids)} new ones, are placed by their texts"
    )
    return grown, (*item_ids, *items.new_ids), done


def find_table(data: Path) -> Path | None:
    """Return the table beside a log, or in the log's folder; ``None`` if there is none."""
    folder = data if data.is_dir() else data.parent
    places = (folder / name for name in NAMES)
    return next((place for place in places if place.is_file() and place != data), None)


def read_table(
    path: Path,
    item_ids: Sequence[str],
    counts: npt.NDArray[np.int64],
    kept: Collection[str] = (),
) -> Described:
    """Read the table; of an ID that stands there twice the first line counts.

    Args:
        path: The table.
        item_ids: The catalogue.
        counts: ``(V + 1,)``, how often each item is in what is learnt from.
        kept: IDs that are not placed, though nobody had them.

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
    had = [number for number, i in enumerate(item_ids, 1) if i in described]
    known = [number for number in had if counts[number]]
    cold = [number for number in had if not counts[number] and item_ids[number - 1] not in kept]
    new = sorted(described.keys() - set(item_ids))
    return Described(
        known=np.array(known, np.int64),
        known_texts=tuple(described[item_ids[number - 1]] for number in known),
        cold=np.array(cold, np.int64),
        cold_texts=tuple(described[item_ids[number - 1]] for number in cold),
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
def with_placed_items(
    network: NextItemNetwork,
    known: npt.NDArray[np.int64],
    known_vectors: Floats,
    cold: npt.NDArray[np.int64],
    vectors: Floats,
) -> NextItemNetwork:
    """Return the network with cold items placed and ``N`` more at the end of its catalogue.

    Args:
        network: Has learnt; is left as it is.
        known: ``(n,)``, numbers of items that are described and were learnt from.
        known_vectors: ``(n, E)``, of their texts.
        cold: ``(cold,)``, numbers of items that are described and were not.
        vectors: ``(cold + N, E)``, of the texts of these and of the new items.
    """
    learnt = network.items.weight.detach().numpy()
    chance = network.popularity.numpy()
    # An item that was had often has a vector to learn from; one that was had once, hardly.
    trust = np.expm1(chance[known]).clip(1)
    placed = torch.from_numpy(ridge(known_vectors, learnt[known], trust, vectors))
    new = placed[len(cold) :]
    grown = NextItemNetwork(
        torch.zeros(len(learnt) + len(new)),
        **network.sizes,
        dropout=network.dropout,
        negatives=network.negatives,
        label_smoothing=network.label_smoothing,
    )
    there = np.ones(len(learnt), np.bool_)
    there[[0, *cold]] = False
    rare = network.bias[torch.from_numpy(there)].quantile(_RARE / 2)
    more = {
        "items.weight": new,
        "bias": rare.expand(len(new)),
        "popularity": torch.zeros(len(new)),
    }
    state = network.state_dict()
    grown.load_state_dict(
        {name: torch.cat([value, more[name]]) if name in more else value
         for name, value in state.items()}
    )  # fmt: skip
    rows = torch.from_numpy(cold)
    grown.items.weight[rows] = placed[: len(cold)]
    grown.bias[rows] = rare
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
    roots = np.sqrt(share)[:, None]
    weighed, asked = inputs * roots, outputs * roots
    left, sizes, right = np.linalg.svd(weighed.astype(np.float64), full_matrices=False)
    projected = left.T @ asked
    errors = []
    for penalty in PENALTIES:
        kept = sizes**2 / (sizes**2 + penalty)
        residual = asked - left @ (kept[:, None] * projected)
        leverage = (left**2 * kept).sum(1)
        errors.append(float(((residual / (1 - leverage).clip(1e-6)[:, None]) ** 2).sum()))
    penalty = PENALTIES[int(np.argmin(errors))]
    map_ = right.T @ ((sizes / (sizes**2 + penalty))[:, None] * projected)
    return ((new - middle) @ map_ + mean).astype(np.float32)
