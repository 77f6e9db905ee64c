"""What people type, as requests."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from google.protobuf.timestamp_pb2 import Timestamp

from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose_pb
from trident.model.v1 import model_service_pb2 as model_pb
from triton_models.images import MEDIA_TYPES, sniffed

Value = float | str


def split_ids(texts: Iterable[str]) -> list[str]:
    """Return the IDs of ``1,2`` and ``3`` as one list."""
    return [item for text in texts for item in (part.strip() for part in text.split(",")) if item]


def read_time(text: str, option: str) -> Timestamp:
    """Return a moment: ``now``, ISO 8601 in UTC if it does not say, or seconds since 1970.

    Raises:
        click.BadParameter: If it is none of these; names the option.
    """
    try:
        if text == "now":
            return Timestamp(seconds=int(time.time()))
        if text.isdecimal():
            return Timestamp(seconds=int(text))
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return Timestamp(seconds=math.floor(moment.timestamp()))
    except ValueError as error:
        known = "must be now, ISO 8601 or seconds since 1970"
        raise click.BadParameter(f"{known}, got {text!r}", param_hint=option) from error


def read_values(texts: Sequence[str]) -> dict[str, Value]:
    """Return named values from JSON files and ``name=value`` pairs; later ones win.

    Raises:
        click.ClickException: Naming the file and the entry that cannot be read.
    """
    values: dict[str, Value] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if Path(text).is_file() or not equals:
            values |= _read_json(Path(text))
        else:
            values[name.strip()] = value.strip()
    return values


def feature_value(value: Value, feature: model_pb.Feature | None) -> FeatureValue:
    """Return a value as the schema wants it; what does not fit is for the gateway to refuse."""
    if feature is not None and feature.kind == model_pb.FEATURE_KIND_CATEGORY:
        return FeatureValue(category=value if isinstance(value, str) else f"{value:g}")
    parsed = as_number(value)
    return FeatureValue(category=str(value)) if parsed is None else FeatureValue(number=parsed)


def as_number(value: Value) -> float | None:
    """Return the number that a text holds, if it holds one."""
    try:
        return float(value)
    except ValueError:
        return None


def measurement(name: str, value: Value) -> float:
    """Return a measurement.

    Raises:
        click.ClickException: If it is no number.
    """
    parsed = as_number(value)
    if parsed is None:
        raise click.ClickException(f"measurement '{name}': '{value}' is no number")
    return parsed


def read_image(path: Path) -> diagnose_pb.Image:
    """Return an image with the type that its first bytes say.

    Raises:
        click.ClickException: If they say none.
    """
    content = path.read_bytes()
    found = sniffed(content)
    if not found:
        raise click.ClickException(f"{path}: is none of {', '.join(MEDIA_TYPES)}")
    return diagnose_pb.Image(content=content, media_type=found[0])


def example_values(features: Iterable[model_pb.Feature]) -> dict[str, Value]:
    """Return a valid value for every feature: the middle of its range, its first category."""
    values: dict[str, Value] = {}
    for feature in features:
        if feature.kind == model_pb.FEATURE_KIND_CATEGORY:
            if feature.categories:
                values[feature.name] = feature.categories[0]
        elif feature.codes:
            values[feature.name] = feature.codes[len(feature.codes) // 2]
        elif feature.HasField("minimum") and feature.HasField("maximum"):
            values[feature.name] = _middle(feature.minimum, feature.maximum)
        else:
            values[feature.name] = feature.minimum or feature.maximum
    return values


def read_titles(path: Path) -> Mapping[str, str]:
    """Return titles by ID from a CSV with a header.

    The columns are ``id`` and ``title``, or MovieLens' ``movieId`` and ``title``.

    Raises:
        click.ClickException: If there is no such column.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        names = {name.strip().lower(): name for name in rows.fieldnames or ()}
        id_name = next((names[n] for n in ("id", "movieid", "item", "item_id") if n in names), None)
        title_name = names.get("title")
        if id_name is None or title_name is None:
            found = ", ".join(names) or "nothing"
            raise click.ClickException(
                f"{path}: the header must have the columns 'id' (or 'movieId') and 'title', "
                f"it has: {found}"
            )
        return {row[id_name]: row[title_name] or "" for row in rows if row[id_name]}


def _middle(minimum: float, maximum: float) -> float:
    """Return a round number halfway: whole between whole numbers, else of three digits."""
    middle = minimum + (maximum - minimum) / 2
    if minimum == int(minimum) and maximum == int(maximum) and maximum - minimum >= 1:
        return float(math.floor(middle))
    short = float(f"{middle:.3g}")
    return short if minimum <= short <= maximum else middle


def _read_json(path: Path) -> dict[str, Value]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.ClickException(
            f"'{path}' is neither a file nor name=value ({error.strerror})"
        ) from error
    except ValueError as error:
        raise click.ClickException(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise click.ClickException(f"{path}: must hold an object of names and values")
    values: dict[str, Value] = {}
    for name, value in content.items():
        if value is None:  # missing
            continue
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise click.ClickException(f"{path}: '{name}' must be a number, a text or null")
        values[name] = value
    return values
