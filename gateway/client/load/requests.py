"""The requests of a load: from a file, or made from the schema of the release that serves."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from gateway.client.inputs import Value, feature_value
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose_pb
from trident.model.v1 import model_service_pb2 as model_pb
from trident.recommend.v1 import recommend_service_pb2 as recommend_pb
from trident.risk.v1 import risk_service_pb2 as risk_pb
from triton_models.images import sniffed

_MOST_NAMED = 10


class BadRequests(Exception):
    """Requests that cannot be read; every one of them, up to a few, is in the message."""

    def __init__(self, path: Path, violations: Mapping[int, str], *, what: str = "line") -> None:
        some = list(violations.items())[:_MOST_NAMED]
        lines = [f"{what} {place}: {text}" for place, text in some]
        if (more := len(violations) - len(some)) > 0:
            lines.append(f"… and {more} more")
        super().__init__(f"{path} cannot be sent:\n  " + "\n  ".join(lines))
        self.violations = dict(violations)


@dataclass(frozen=True)
class Rpc:
    """An RPC that can be put under load."""

    name: str
    """As ``gateway call`` calls it."""
    method: str
    request_type: Callable[..., Any]
    batch_type: Callable[..., Any]
    """Of the RPC that takes many, whose name is ``Batch…``."""
    domain: str
    line: str
    """Whose schema examples are made from."""
    of_row: Callable[[Mapping[str, Any]], Any]
    """Makes a request of a row of a release's ``answers.parquet``."""
    of_values: Callable[[Mapping[str, Value], Mapping[str, model_pb.Feature]], Any] | None
    """Makes a request of values; ``None`` where a schema does not say what is valid."""

    @property
    def batch_method(self) -> str:
        """The RPC that takes many requests."""
        service, _, name = self.method.rpartition("/")
        return f"{service}/Batch{name}"

    def batches(self, requests: Sequence[Message], rows: int) -> list[Message]:
        """Return requests of :attr:`batch_method` with so many rows: all, and some once more."""
        turns = itertools.cycle(requests)
        return [
            self.batch_type(requests=itertools.islice(turns, rows))
            for _ in range(math.ceil(len(requests) / rows))
        ]


def _recommend_row(row: Mapping[str, Any]) -> Any:
    request = recommend_pb.RecommendRequest(history_item_ids=row["history_item_ids"], item_count=10)
    for seconds in row.get("history_times") or ():
        request.history_times.add(seconds=seconds)
    if row.get("request_time"):
        request.request_time.seconds = row["request_time"]
    return request


def _diagnose_row(row: Mapping[str, Any]) -> Any:
    """Return a request for the evidence that the row has."""
    if "image" in row:
        content = row["image"]
        media_type = (sniffed(content) or ("",))[0]  # what is none, the gateway refuses
        image = diagnose_pb.Image(content=content, media_type=media_type)
        return diagnose_pb.DiagnoseRequest(image=image)
    if "note" in row:
        return diagnose_pb.DiagnoseRequest(note=row["note"])
    values = json.loads(row["measurements"])
    return diagnose_pb.DiagnoseRequest(measurements=diagnose_pb.Measurements(values=values))


def _risk_row(row: Mapping[str, Any]) -> Any:
    return _risk_values(json.loads(row["features"]), {})


def _diagnose_values(values: Mapping[str, Value], features: Mapping[str, model_pb.Feature]) -> Any:
    numbers = {name: float(value) for name, value in values.items()}
    return diagnose_pb.DiagnoseRequest(measurements=diagnose_pb.Measurements(values=numbers))


def _risk_values(values: Mapping[str, Value], features: Mapping[str, model_pb.Feature]) -> Any:
    sent = {
        name: feature_value(value, features.get(name) or _guess(value))
        for name, value in values.items()
    }
    return risk_pb.ScoreRiskRequest(features=sent)


def _guess(value: Value) -> model_pb.Feature:
    kinds = model_pb.FeatureKind
    kind = kinds.FEATURE_KIND_CATEGORY if isinstance(value, str) else kinds.FEATURE_KIND_NUMBER
    return model_pb.Feature(kind=kind)


RPCS = {
    rpc.name: rpc
    for rpc in (
        Rpc("recommend", "trident.recommend.v1.RecommendService/Recommend",
            recommend_pb.RecommendRequest, recommend_pb.BatchRecommendRequest,
            "recommend", "", _recommend_row, None),
        Rpc("diagnose", "trident.diagnose.v1.DiagnoseService/Diagnose",
            diagnose_pb.DiagnoseRequest, diagnose_pb.BatchDiagnoseRequest,
            "diagnose", "diagnose-measurements", _diagnose_row, _diagnose_values),
        Rpc("score-risk", "trident.risk.v1.RiskService/ScoreRisk",
            risk_pb.ScoreRiskRequest, risk_pb.BatchScoreRiskRequest,
            "risk", "", _risk_row, _risk_values),
    )
}  # fmt: skip


def read_requests(rpc: Rpc, path: Path) -> list[Message]:
    """Return the requests of a file.

    Args:
        rpc: Whose requests they are.
        path: ``.parquet``, the answers that a build keeps beside a release; else lines of JSON,
            each a request with the names of the ``.proto`` file.

    Raises:
        BadRequests: With every line that is none.
    """
    if path.suffix == ".parquet":
        return _from_parquet(rpc, path)
    requests: list[Message] = []
    violations: dict[int, str] = {}
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                content = json.loads(line)
                if not isinstance(content, dict):
                    raise ValueError("must be an object")
                requests.append(ParseDict(content, rpc.request_type()))
            except (ValueError, ParseError) as error:
                violations[number] = str(error)
    if violations or not requests:
        raise BadRequests(path, violations or {1: "the file holds no request"})
    return requests


def _from_parquet(rpc: Rpc, path: Path) -> list[Message]:
    import polars as pl

    try:
        rows = pl.read_parquet(path).to_dicts()
        if not rows:
            raise BadRequests(path, {1: "the file holds no row"}, what="row")
        return [rpc.of_row(row) for row in rows]
    except KeyError as error:
        text = f"no column {error}, which the answers of {rpc.name} have"
        raise BadRequests(path, {1: text}, what="row") from error
    except pl.exceptions.PolarsError as error:
        raise BadRequests(path, {1: f"not Parquet: {error}"}, what="row") from error


def example_requests(
    rpc: Rpc, features: Iterable[model_pb.Feature], count: int, seed: int
) -> list[Message]:
    """Return valid requests that differ, made from a schema.

    Args:
        rpc: One with ``of_values``.
        features: Of the release that serves.
        count: How many.
        seed: Of the values.
    """
    if rpc.of_values is None:
        raise ValueError(f"a request of {rpc.name} cannot be made from a schema")
    by_name = {feature.name: feature for feature in features}
    chance = random.Random(seed)
    return [rpc.of_values(dict(_values(by_name, chance)), by_name) for _ in range(count)]


def _values(
    features: Mapping[str, model_pb.Feature], chance: random.Random
) -> Iterator[tuple[str, Value]]:
    for name, feature in features.items():
        if feature.kind == model_pb.FEATURE_KIND_CATEGORY:
            if feature.categories:
                yield name, chance.choice(feature.categories)
        elif feature.codes:
            yield name, chance.choice(feature.codes)
        elif feature.HasField("minimum") and feature.HasField("maximum"):
            yield name, _between(feature.minimum, feature.maximum, chance)
        else:
            yield name, feature.minimum or feature.maximum


def _between(minimum: float, maximum: float, chance: random.Random) -> float:
    """Return a number of a range: whole between whole ones."""
    if minimum == int(minimum) and maximum == int(maximum) and maximum - minimum >= 1:
        return float(chance.randint(int(minimum), int(maximum)))
    return chance.uniform(minimum, maximum)
