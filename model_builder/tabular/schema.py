"""The feature schema of a release, from the rows that it is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model_builder.tabular.columns import Column
from model_builder.tabular.table import Table
from triton_models.release import FeatureSpec


def infer_features(table: Table, rows: npt.NDArray[np.int64]) -> tuple[FeatureSpec, ...]:
    """Return a feature for each column; ranges, categories and typical values are of ``rows``.

    A quantity outside its range is clipped; an unknown code or category counts as missing.
    """
    return tuple(_feature(column, table.values[column.name][rows]) for column in table.columns)


def _feature(column: Column, values: npt.NDArray[np.generic]) -> FeatureSpec:
    if column.kind == "category":
        return _category(column, values)
    present = np.unique(values[~np.isnan(values)], return_counts=True)
    return _code(column, *present) if column.kind == "code" else _quantity(column, values)


def _quantity(column: Column, values: npt.NDArray[np.generic]) -> FeatureSpec:
    known = values[~np.isnan(values)]
    special = np.isin(known, list(column.special_codes))
    present = known[~special] if not special.all() else np.zeros(1)
    low = _single(present.min()) if column.minimum is None else _single(column.minimum)
    high = _single(present.max()) if column.maximum is None else _single(column.maximum)
    typical = min(max(_single(np.median(present)), low), high)
    if special.sum() > len(known) / 2:  # most have no value of the quantity at all
        codes, counts = np.unique(known[special], return_counts=True)
        typical = _single(codes[counts.argmax()])
    of_codes = {_single(code): words for code, words in column.special_codes.items()}
    unit = f" {column.unit}" if column.unit else ""
    of_value = f"{_subject(column)} of {{value}}{unit}"
    than = f"the typical {_number(typical)}{unit}"
    if typical in of_codes:
        than = f"what is most common ({_plain(of_codes[typical]) or _number(typical)})"
    return FeatureSpec(
        name=column.name,
        kind="number",
        description=column.description,
        unit=column.unit,
        minimum=low,
        maximum=high,
        special_codes=of_codes,
        missing_values=column.missing_values,
        missing_rule=column.missing_rule,
        unknown_rule=column.unknown_rule or "clip",
        protected=column.protected,
        monotonic=column.monotonic,
        typical=typical,
        high_text=f"{of_value} is above {than}",
        low_text=f"{of_value} is at or below {than}",
    )


def _code(
    column: Column, codes: npt.NDArray[np.generic], counts: npt.NDArray[np.int64]
) -> FeatureSpec:
    if not len(codes):
        codes, counts = np.zeros(1), np.ones(1, np.int64)
    typical = _single(codes[counts.argmax()])
    words = column.meanings.get(_number(typical), "")
    text = f"{_subject(column)} is {{value}}, most often {_number(typical)}"
    text += f" ({_plain(words)})" if words else ""
    return FeatureSpec(
        name=column.name,
        kind="number",
        description=_with_meanings(column, codes),
        unit=column.unit,
        minimum=_single(codes.min()),
        maximum=_single(codes.max()),
        codes=tuple(_single(code) for code in codes),
        missing_values=column.missing_values,
        missing_rule=column.missing_rule,
        unknown_rule="refuse" if column.unknown_rule == "refuse" else "impute",
        protected=column.protected,
        typical=typical,
        high_text=text,
        low_text=text,
    )


def _category(column: Column, values: npt.NDArray[np.generic]) -> FeatureSpec:
    categories, counts = np.unique(values[values != ""], return_counts=True)
    if not len(categories):
        categories, counts = np.array(["unknown"]), np.ones(1, np.int64)
    allowed = column.categories or _ordered(column, [str(each) for each in categories])
    known = [place for place, each in enumerate(categories) if each in allowed]
    typical = str(categories[max(known, key=lambda place: counts[place])] if known else allowed[0])
    text = f"{_subject(column)} is '{{value}}', most often '{_plain(typical)}'"
    return FeatureSpec(
        name=column.name,
        kind="category",
        description=column.description,
        categories=allowed,
        missing_values=column.missing_values,
        missing_rule=column.missing_rule,
        unknown_rule="refuse" if column.unknown_rule == "refuse" else "impute",
        protected=column.protected,
        typical=typical,
        high_text=text,
        low_text=text,
    )


def _ordered(column: Column, categories: Sequence[str]) -> tuple[str, ...]:
    """Put categories in the order of the documentation, which often is their natural one."""
    documented = [words for words in column.meanings.values() if words in set(categories)]
    return tuple(dict.fromkeys(documented)) if column.meanings else tuple(categories)


def _with_meanings(column: Column, codes: npt.NDArray[np.generic]) -> str:
    seen = {_number(float(code)) for code in codes}
    meanings = [f"{code}: {words}" for code, words in column.meanings.items() if code in seen]
    return f"{column.description} ({', '.join(meanings)})" if meanings else column.description


def _subject(column: Column) -> str:
    """Return the words before the first explanation."""
    words = (column.description or column.name).split(":")[0].split(",")[0]
    return _plain(words)


def _plain(text: str) -> str:
    # A brace would be taken for a place to fill in.
    return text.replace("{", "(").replace("}", ")")


def _number(value: float) -> str:
    return f"{value:.6g}" if not value.is_integer() else f"{value:.0f}"


def _single(value: float) -> float:
    """Return the shortest decimal of ``value`` as float32, which is what the tensor carries."""
    return float(str(np.float32(value)))
