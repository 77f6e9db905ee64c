"""Requests with faults that are known: hypothesis strategies for every RPC.

Each strategy gives a pair: a message, and the field paths that its refusal must name. No path
means that the message is valid as far as the strategy can tell.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import strategies as st

from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose
from trident.model.v1 import model_service_pb2 as model
from trident.recommend.v1 import recommend_service_pb2 as recommend
from trident.risk.v1 import risk_service_pb2 as risk
from triton_models.release import FeatureSpec, Manifest

T = TypeVar("T")
Faulty = tuple[T, frozenset[str]]
NONE: frozenset[str] = frozenset()

HOSTILE = st.sampled_from(
    ["' OR 1=1 --", "../../etc/passwd", "%s%n{0}${x}", "\u202eabc", "\ufeff", "\U0001f600" * 20,
     "\x1b[31m", "a\nb", "\ufffe", "'\"]\\[", "NaN", "-1", "m1 ", "ǅ"]
)  # fmt: skip
TEXT = HOSTILE | st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)
ID = TEXT.filter(bool)


def fault(value: T, *paths: str) -> Faulty[T]:
    """A value and the paths at which it must be refused."""
    return value, frozenset(paths)


def entry(path: str, name: str) -> str:
    return f"{path}[{json.dumps(name, ensure_ascii=False)}]"


def text_field(path: str, high: int, careful: bool) -> st.SearchStrategy[Faulty[str]]:
    """A text of at most ``high`` characters, or a faulty one."""
    right = TEXT.map(fault) | st.just(fault("x" * high))
    if careful:
        return right
    return st.one_of(
        right,
        st.just(fault("ü" * (high + 1), path)),
        TEXT.map(lambda text: fault(text + "\0", path)),
    )


def count_field(
    path: str, good: st.SearchStrategy[T], bad: st.SearchStrategy[T], careful: bool
) -> st.SearchStrategy[Faulty[T]]:
    """How many are wanted, or a number that may not be asked for."""
    right = good.map(fault)
    return right if careful else right | bad.map(lambda number: fault(number, path))


@st.composite
def id_list(draw: st.DrawFn, path: str, careful: bool) -> Faulty[list[str]]:
    """A list of item IDs, some of them bad, or far too many."""
    if not careful and draw(st.integers(0, 9)) == 0:
        return fault(["x"] * 1001, path)
    one = ID | st.sampled_from(["m1", "m2", "m3"])
    if not careful:
        one |= st.sampled_from(["", "x" * 257, "a\0b"])
    ids = draw(st.lists(one, max_size=6))
    wrong = [place for place, item in enumerate(ids) if not 1 <= len(item) <= 256 or "\0" in item]
    return fault(ids, *(f"{path}[{place}]" for place in wrong))


def number_of(spec: FeatureSpec, path: str, careful: bool) -> st.SearchStrategy[Faulty[float]]:
    """A number that a feature takes, or one that it does not."""
    low, high = spec.minimum, spec.maximum
    good: st.SearchStrategy[float] = st.floats(low, high) if low != high else st.just(low or 0.0)
    if spec.codes:
        good = st.sampled_from(spec.codes)
    bad = [math.nan, math.inf, -math.inf, 1e39, -1e308]
    if spec.unknown_rule == "refuse" and spec.codes:
        bad.append(max(spec.codes) + 0.5)
    elif spec.unknown_rule == "refuse" and high is not None:
        bad.append(high + 1 + abs(high))
    else:
        good |= st.floats(width=32, allow_nan=False, allow_infinity=False)
    if careful:
        return good.map(fault)
    return good.map(fault) | st.sampled_from(bad).map(lambda value: fault(value, path))


def category_of(spec: FeatureSpec, path: str, careful: bool) -> st.SearchStrategy[Faulty[str]]:
    """A category that a feature takes, or one that it does not."""
    good: st.SearchStrategy[str] = st.sampled_from(spec.categories or ("x",))
    bad: st.SearchStrategy[str] = st.sampled_from(["", "x" * 257, "a\0"])
    if spec.unknown_rule == "refuse":
        bad |= ID.filter(lambda text: text not in spec.categories)
    else:
        good |= ID
    if careful:
        return good.map(fault)
    return good.map(fault) | bad.map(lambda value: fault(value, path))


def feature_value(
    spec: FeatureSpec, path: str, careful: bool
) -> st.SearchStrategy[Faulty[FeatureValue]]:
    """The value of a feature: right, wrong, of the wrong kind, or not there."""
    number, category = f"{path}.number", f"{path}.category"
    unset = fault(FeatureValue(), *([path] if spec.missing_rule == "refuse" else []))
    if spec.kind == "number":
        right = number_of(spec, number, careful).map(lambda f: (FeatureValue(number=f[0]), f[1]))
        wrong = ID.map(lambda text: fault(FeatureValue(category=text), category))
    else:
        right = category_of(spec, category, careful).map(
            lambda f: (FeatureValue(category=f[0]), f[1])
        )
        wrong = st.floats().map(lambda value: fault(FeatureValue(number=value), number))
    if careful:
        return right if unset[1] else right | st.just(unset)
    return st.one_of(right, right, right, wrong, st.just(unset))


@st.composite
def named_values(
    draw: st.DrawFn,
    path: str,
    specs: Sequence[FeatureSpec],
    value_of: Callable[[FeatureSpec, str, bool], st.SearchStrategy[Faulty[Any]]],
    any_value: Any,
    low: int,
    high: int,
    careful: bool,
) -> Faulty[dict[str, Any]]:
    """A map of features: values by name, required ones left out, names nobody knows."""
    size = 2 if careful else draw(st.integers(0, 19))
    if size == 0:
        return fault({f"x{place}": any_value for place in range(high + 1)}, path)
    values: dict[str, Any] = {}
    faults: set[str] = set()
    for spec in specs:
        if draw(st.integers(0, 5)) or (careful and spec.missing_rule == "refuse"):
            value = value_of(spec, entry(path, spec.name), careful)
            values[spec.name], found = draw(value)
            faults |= found
        elif spec.missing_rule == "refuse":
            faults.add(entry(path, spec.name))
    known = {spec.name for spec in specs}
    for name in (
        () if careful else draw(st.lists(TEXT.filter(lambda text: text not in known), max_size=2))
    ):
        values[name] = any_value
        faults.add(entry(path, name))
    if size == 1:
        values["n" * 257] = any_value
        faults.add(path)
    if len(values) < low:
        faults.add(path)
    return values, frozenset(faults)


_MOMENTS = st.builds(
    Timestamp, seconds=st.integers(0, 253402300799), nanos=st.integers(0, 10**9 - 1)
)
_NO_MOMENTS = st.sampled_from([
    Timestamp(seconds=-1), Timestamp(seconds=253402300800), Timestamp(nanos=-1),
    Timestamp(nanos=10**9),
])  # fmt: skip


@st.composite
def moment(draw: st.DrawFn, path: str, careful: bool) -> Faulty[Timestamp]:
    """A moment of this era, or none."""
    if careful or draw(st.booleans()):
        return fault(draw(_MOMENTS))
    return fault(draw(_NO_MOMENTS), path)


@st.composite
def history_times(draw: st.DrawFn, items: int, careful: bool) -> Faulty[list[Timestamp]]:
    """Times of a history: as many as there are items, or another number of them."""
    if not careful and not draw(st.integers(0, 3)):
        count = items + draw(st.integers(1, 3))
        return fault([draw(_MOMENTS)] * count, "history_times")
    wrong = set() if careful or not items else draw(st.sets(st.integers(0, items - 1), max_size=2))
    # Most are alike: drawing a thousand takes long, and tells no more.
    usual = draw(_MOMENTS)
    times = [draw(_NO_MOMENTS) if place in wrong else usual for place in range(items)]
    return times, frozenset(f"history_times[{place}]" for place in wrong)


@st.composite
def recommend_request(draw: st.DrawFn, release: Manifest) -> Faulty[recommend.RecommendRequest]:
    """A request of the domain ``recommend``; every second is right."""
    careful = draw(st.booleans())
    request_id, f1 = draw(text_field("request_id", 128, careful))
    user_id, f2 = draw(text_field("user_id", 256, careful))
    history, f3 = draw(id_list("history_item_ids", careful))
    candidates, f4 = draw(id_list("candidate_item_ids", careful))
    excluded, f5 = draw(id_list("excluded_item_ids", careful))
    bad = st.sampled_from([-1, 101, 2**31 - 1, -(2**31)])
    count, f6 = draw(count_field("item_count", st.integers(0, 100), bad, careful))
    value = FeatureValue(number=1)
    context, f7 = draw(
        st.just(fault({}))
        | named_values("context", release.features, feature_value, value, 0, 100, careful)
    )  # fmt: skip
    times, f8 = draw(st.just(fault([])) | history_times(len(history), careful))
    at, f9 = draw(st.just((None, frozenset())) | moment("request_time", careful))
    request = recommend.RecommendRequest(
        request_id=request_id, user_id=user_id, history_item_ids=history, item_count=count,
        candidate_item_ids=candidates, excluded_item_ids=excluded, context=context,
        history_allowed=draw(st.booleans()), history_times=times, request_time=at,
    )  # fmt: skip
    return request, f1 | f2 | f3 | f4 | f5 | f6 | f7 | f8 | f9


@st.composite
def diagnose_request(draw: st.DrawFn, release: Manifest) -> Faulty[diagnose.DiagnoseRequest]:
    """A request of the domain ``diagnose`` to a gateway that only serves measurements."""
    careful = draw(st.booleans())
    request_id, faults = draw(text_field("request_id", 128, careful))
    request = diagnose.DiagnoseRequest(request_id=request_id, explain=draw(st.booleans()))
    kinds = ["measurements"] if careful else ["none", "image", "note", *["measurements"] * 5]
    kind = draw(st.sampled_from(kinds))
    if kind == "none":
        faults |= {"evidence"}
    elif kind == "note":
        note, _ = draw(text_field("note", 20_000, careful))
        request.note = note
        faults |= {"note"}
    elif kind == "image":
        request.image.content = draw(st.binary(max_size=5))
        request.image.media_type = draw(TEXT | st.just("image/png"))
        faults |= {"image"} if request.image.content else {"image", "image.content"}
        if request.image.media_type != "image/png":
            faults |= {"image.media_type"}
    else:
        values, found = draw(
            named_values("measurements.values", release.features, number_of, 1.0, 1, 1000, careful)
        )
        request.measurements.SetInParent()
        request.measurements.values.update(values)
        faults |= found
    return request, faults


@st.composite
def risk_request(draw: st.DrawFn, release: Manifest) -> Faulty[risk.ScoreRiskRequest]:
    """A request of the domain ``risk``; every second is right."""
    careful = draw(st.booleans())
    request_id, f1 = draw(text_field("request_id", 128, careful))
    value = FeatureValue(number=1)
    features, f2 = draw(
        named_values("features", release.features, feature_value, value, 1, 1000, careful)
    )
    bad = st.sampled_from([-1, 21, 2**31 - 1])
    count, f3 = draw(count_field("reason_count", st.none() | st.integers(0, 20), bad, careful))
    request = risk.ScoreRiskRequest(
        request_id=request_id, features=features, reason_count=count
    )  # fmt: skip
    return request, f1 | f2 | f3


@st.composite
def batch_of(
    draw: st.DrawFn, kind: type[Message], one: st.SearchStrategy[Faulty[Any]]
) -> Faulty[Any]:
    """A batch: a few requests, none, or too many."""
    size = draw(st.integers(0, 14))
    if size == 0:
        return fault(kind(), "requests")
    if size == 1:
        (request, _) = draw(one)
        small = type(request)(request_id="x")
        return fault(kind(requests=[small] * 1001), "requests")  # type: ignore[call-arg]
    drawn = draw(st.lists(one, min_size=1, max_size=4))
    faults = {f"requests[{n}].{path}" for n, (_, paths) in enumerate(drawn) for path in paths}
    return kind(requests=[request for request, _ in drawn]), frozenset(faults)  # type: ignore[call-arg]


@st.composite
def stream_of(
    draw: st.DrawFn, kind: type[Message], one: st.SearchStrategy[Faulty[Any]]
) -> list[Faulty[Any]]:
    """The elements of a stream; paths are those of the request inside."""
    elements = []
    for place, (request, faults) in enumerate(draw(st.lists(one, min_size=1, max_size=4))):
        if not faults & {"request_id"} and request.request_id:
            request.request_id = f"{place}-{request.request_id}"[:128]
        elif not request.request_id:
            faults |= {"request_id"}
        elements.append((kind(request=request), faults))  # type: ignore[call-arg]
    return elements


@st.composite
def get_model_request(draw: st.DrawFn) -> Faulty[model.GetModelRequest]:
    """A request for one release that is routed, may be routed, or is nonsense."""
    lines = {"recommend": "recommend", "diagnose": "diagnose-measurements", "risk": "score-risk"}
    domain = draw(st.sampled_from([*lines, ""]) | TEXT)
    line = draw(st.sampled_from(["", *lines.values()]) | TEXT)
    release, faults = draw(st.just(fault("")) | text_field("release", 64, False))
    if domain not in lines:
        faults |= {"domain"}
    if line and line not in ([lines[domain]] if domain in lines else lines.values()):
        others = {"diagnose-image", "diagnose-note"} if domain not in {"recommend", "risk"} else ()
        faults |= {"line"} if line not in others else NONE
    return model.GetModelRequest(domain=domain, line=line, release=release), faults


@st.composite
def list_models_request(draw: st.DrawFn) -> Faulty[model.ListModelsRequest]:
    """A request for a list."""
    domain = draw(st.sampled_from(["", "recommend", "diagnose", "risk"]) | TEXT)
    known = domain in {"", "recommend", "diagnose", "risk"}
    return fault(model.ListModelsRequest(domain=domain), *([] if known else ["domain"]))


def requests_of(method: str, releases: dict[str, Manifest]) -> st.SearchStrategy[Any]:
    """Return the strategy of an RPC.

    Args:
        method: Such as ``BatchScoreRisk``. For a ``Stream…`` the strategy gives a list.
        releases: By domain: what is served, whose schema decides what is valid.
    """
    domains: dict[str, tuple[Any, Any]] = {
        "Recommend": (recommend, recommend_request(releases["recommend"])),
        "Diagnose": (diagnose, diagnose_request(releases["diagnose"])),
        "ScoreRisk": (risk, risk_request(releases["risk"])),
    }
    strategies: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
        "ListModels": list_models_request,
        "GetModel": get_model_request,
    }
    for name, (module, one) in domains.items():
        strategies[name] = partial(lambda one: one, one)
        strategies[f"Batch{name}"] = partial(batch_of, getattr(module, f"Batch{name}Request"), one)
        strategies[f"Stream{name}"] = partial(
            stream_of, getattr(module, f"Stream{name}Request"), one
        )
    return strategies[method]()
