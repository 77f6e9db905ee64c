"""What is learnt from a log and what is asked of it, and what the manifest says of both."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from model_builder.errors import DataFault, Fault
from model_builder.recsys.log_config import LogConfig
from model_builder.recsys.ordering import Interactions, order_log
from model_builder.recsys.reading import read_log
from model_builder.recsys.sequences import Items, Sequences
from model_builder.recsys.splits import (
    LEAST_INTERACTIONS,
    MAX_HISTORY,
    Questions,
    Splits,
    drawn,
    leave_one_out,
    split_by_time,
)
from model_builder.task import ResolvedData
from triton_models.release import DataSource

__all__ = [  # those of the modules below too, so that whoever trains reads one
    "LEAST_INTERACTIONS",
    "MAX_HISTORY",
    "Interactions",
    "Items",
    "Questions",
    "Sequences",
    "Splits",
    "data_source",
    "leave_one_out",
    "load_interactions",
    "split_interactions",
]


def load_interactions(
    path: Path, config: LogConfig | None = None, extra: Sequence[str] = ()
) -> Interactions:
    """Read a log and put each user's interactions in order of time, then of the file.

    Args:
        path: The file, or a folder with it.
        config: What is left out; by default nothing but what nobody can use.
        extra: Other columns that are wanted, by name.

    Raises:
        DataFault: If it cannot be used; names every fault.
    """
    config = config or LogConfig()
    log = read_log(path, extra, config.max_faulty_share)
    return order_log(log, config, path.name, extra)


def split_interactions(interactions: Interactions, config: LogConfig, file: str) -> Splits:
    """Split as ``config.split`` says.

    Raises:
        DataFault: If a part would be empty, or the log has no times to split by.
    """
    if config.split == "leave_one_out":
        splits = leave_one_out(interactions.sequences, file)
        return drawn(splits, config.asked_users, config.seed)
    if interactions.times is None:
        raise DataFault([Fault(file, "times, to split by (split=time)", "one user a line")])
    splits = split_by_time(interactions.sequences, interactions.times, config.test_share, file)
    return drawn(splits, config.asked_users, config.seed)


_TIMED = (
    " The network is told when each item was had; the moment of a question is taken to be when its "
    "target was had."
)


def data_source(data: ResolvedData, interactions: Interactions, splits: Splits) -> DataSource:
    """Say what was learnt from, how it was split and how it is measured."""
    return DataSource(
        name=data.name,
        sha256=data.sha256,
        rows=len(interactions),
        generated=data.generated,
        licence=data.licence,
        source=data.source,
        split=splits.counts,
        split_sha256=splits.sha256,
        findings=tuple(interactions.counts.said().values()),
        counts=interactions.counts.happened(),
        protocol=_protocol(splits, interactions.duplicates)
        + _drawing(splits)
        + (_TIMED if interactions.sequences.gaps is not None else ""),
    )


def _protocol(splits: Splits, duplicates: int) -> str:
    dropped = f" {duplicates} exact duplicates were dropped." * bool(duplicates)
    ranked = (
        "Ratings are not used, every row is an interaction. The target is ranked among the whole "
        f"catalogue without the user's earlier items (the newest {MAX_HISTORY}, as a request "
        "carries them); no sampling. A target that the user had before counts as missed. "
    )
    if splits.cuts is None:
        return (
            "Leave one out: of each user with at least "
            f"{LEAST_INTERACTIONS} interactions the last is the test, the one before the "
            f"validation, and all before are learnt from. {ranked}"
            f"{splits.unevaluated} users with fewer interactions are learnt from and not "
            f"evaluated.{dropped} The split is by user, not by date: others' later interactions "
            "are learnt from."
        )
    validation, test = (_moment(cut) for cut in splits.cuts)
    return (
        f"By time: learnt from is what came before {validation}; the validation is each user's "
        f"first interaction from then until {test}, the test the first from then on, each asked by "
        f"all that the user had before it. {ranked}"
        f"{splits.unevaluated} users had nothing before or nothing in a period and are not asked; "
        f"{splits.unused} further interactions of the periods are not used.{dropped} "
        "Nobody's later interactions are learnt from."
    )


def _drawing(splits: Splits) -> str:
    if not splits.not_drawn:
        return ""
    said = " and ".join(
        f"{len(splits.asked[name])} of {len(splits.asked[name]) + left} for the {name}"
        for name, left in splits.not_drawn.items()
    )
    return f" Of those who could be asked were drawn {said}; the others' items are not learnt from."


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):  # times of some other clock
        return f"time {seconds:g}"
