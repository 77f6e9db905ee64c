"""The domain ``recommend``: items from a history."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.domains.domain import Answer, Tensors, check_answer
from gateway.domains.features import (
    FeatureMap,
    check_features,
    check_values,
    checked_row,
    input_notes,
    plain,
)
from gateway.domains.features import rows_to_tensors as rows_of_features
from gateway.domains.validation import (
    MAX_ID_LENGTH,
    MAX_REQUEST_ID_LENGTH,
    Violations,
    check_ids,
    check_range,
    check_text,
    plain_ids,
    plain_name,
)
from trident.common.v1.served_by_pb2 import ServedBy
from trident.recommend.v1.recommend_service_pb2 import (
    RecommendedItem,
    RecommendRequest,
    RecommendResponse,
)
from triton_models.limits import MAX_IDS, MOMENTS_END_S
from triton_models.release import Manifest
from triton_models.signatures import MAX_ITEMS, RECOMMEND

DEFAULT_ITEM_COUNT = 10

CONTEXT = FeatureMap("context", 0, 100)

_SECOND_NS = 1_000_000_000

_OUTPUTS = tuple(spec.name for spec in RECOMMEND.outputs)


NAME = "recommend"
RESPONSE = RecommendResponse


def line(request: RecommendRequest) -> str:
    """Return the one line of this domain."""
    return RECOMMEND.line


def check(request: RecommendRequest, violations: Violations) -> str:
    """Check the fields whose limits are in the proto."""
    check_text(violations, "request_id", request.request_id, 0, MAX_REQUEST_ID_LENGTH)
    check_text(violations, "user_id", request.user_id, 0, MAX_ID_LENGTH)
    check_ids(violations, "history_item_ids", request.history_item_ids, MAX_IDS)
    check_range(violations, "item_count", request.item_count, 0, MAX_ITEMS)
    check_ids(violations, "candidate_item_ids", request.candidate_item_ids, MAX_IDS)
    check_ids(violations, "excluded_item_ids", request.excluded_item_ids, MAX_IDS)
    _check_times(request, violations)
    check_values(violations, CONTEXT, plain(request.context))
    return RECOMMEND.line


def sticky_key(request: RecommendRequest) -> str:
    """Return the user, or the request where there is none."""
    return request.user_id or request.request_id


def check_schema(request: RecommendRequest, manifest: Manifest, violations: Violations) -> None:
    """Check ``context`` against what the release's ranker takes."""
    check_features(violations, CONTEXT, plain(request.context), manifest)


def read(request: RecommendRequest, manifest: Manifest) -> RecommendRequest | None:
    """Return the request itself if it is plainly valid."""
    plain_request = (
        not request.context
        and all(spec.missing_rule != "refuse" for spec in manifest.features)
        and 0 <= request.item_count <= MAX_ITEMS
        and plain_name(request.request_id, MAX_REQUEST_ID_LENGTH)
        and plain_name(request.user_id, MAX_ID_LENGTH)
        and plain_ids(request.history_item_ids, MAX_IDS)
        and plain_ids(request.candidate_item_ids, MAX_IDS)
        and plain_ids(request.excluded_item_ids, MAX_IDS)
        and (not request.HasField("request_time") or _is_moment(request.request_time))
        and len(request.history_times) in (0, len(request.history_item_ids))
        and all(map(_is_moment, request.history_times))
    )
    return request if plain_request else None


def row(request: RecommendRequest, manifest: Manifest) -> RecommendRequest:
    """Return the request itself."""
    return request


def width(row: RecommendRequest) -> int:
    """Return the power of four that holds the longest list: shorter ones are padded to it."""
    longest = max(
        len(row.history_item_ids), len(row.candidate_item_ids), len(row.excluded_item_ids)
    )
    return max(longest - 1, 0).bit_length() // 2


def rows_to_tensors(rows: Sequence[RecommendRequest], manifest: Manifest) -> Tensors:
    """Return the inputs, padded on the right with ``b""`` to the longest of the batch.

    Returns:
        ``history_item_ids``: ``(B, T)``, ``candidate_item_ids``: ``(B, C)`` and
        ``excluded_item_ids``: ``(B, X)`` object of bytes, at least one wide.
        ``history_allowed``: ``(B, 1)`` bool. ``item_count``: ``(B, 1)`` int32, in [1, 100].
        ``history_times``: ``(B, T)`` and ``request_time``: ``(B, 1)`` int64, seconds since 1970,
        0 where they are not known, if the release reads them.
        And the tensors of the context, if the release takes one.
    """
    tensors: Tensors = {
        "history_item_ids": _padded([row.history_item_ids for row in rows]),
        "candidate_item_ids": _padded([row.candidate_item_ids for row in rows]),
        "excluded_item_ids": _padded([row.excluded_item_ids for row in rows]),
        "history_allowed": np.array([[row.history_allowed] for row in rows], np.bool_),
        "item_count": np.array([[_item_count(row)] for row in rows], np.int32),
    }
    if "history_times" in manifest.input_names:
        times = np.zeros(tensors["history_item_ids"].shape, np.int64)
        for place, row in enumerate(rows):
            times[place, : len(row.history_times)] = [time.seconds for time in row.history_times]
        asked_at = np.array([[row.request_time.seconds] for row in rows], np.int64)
        tensors |= {"history_times": times, "request_time": asked_at}
    if manifest.features:
        contexts = [checked_row(plain(row.context), manifest) for row in rows]
        tensors |= rows_of_features(contexts, manifest)
    return tensors


def wanted_outputs(requests: Sequence[RecommendRequest]) -> tuple[str, ...]:
    """Return all outputs that matter: what is known of what was sent."""
    given = {
        "candidate_known": any(request.candidate_item_ids for request in requests),
        "excluded_known": any(request.excluded_item_ids for request in requests),
        "history_known": any(request.history_item_ids for request in requests),
        "input_rules": any(request.context for request in requests),
    }
    return tuple(name for name in _OUTPUTS if given.get(name, True))


def slow_to_write(answer: Answer, requests: Sequence[RecommendRequest]) -> bool:
    """Return false: an answer is only numbers and names."""
    return False


def tensors_to_responses(
    answer: Answer, requests: Sequence[RecommendRequest], manifest: Manifest, served_by: ServedBy
) -> list[RecommendResponse]:
    """Return the recommended items; places without an item (``b""``) are left out."""
    sizes = {
        "B": len(requests),
        "T": _width([request.history_item_ids for request in requests]),
        "C": _width([request.candidate_item_ids for request in requests]),
        "X": _width([request.excluded_item_ids for request in requests]),
        "F": len(manifest.features),
    }
    check_answer(answer, wanted_outputs(requests), manifest, sizes)
    return [
        RecommendResponse(
            items=_items(answer, row, request),
            unknown_item_ids=_unknown_ids(answer, row, request),
            model=served_by,
            input_notes=input_notes(answer["input_rules"][row], manifest)
            if request.context
            else (),
        )
        for row, request in enumerate(requests)
    ]


def _check_times(request: RecommendRequest, violations: Violations) -> None:
    times, items = request.history_times, request.history_item_ids
    if len(times) not in (0, len(items)):
        wanted = f"must have an entry for each of history_item_ids, {len(items)}, or none"
        violations.add("history_times", f"{wanted}, got {len(times)}")
    else:
        for place, time in enumerate(times):
            _check_moment(f"history_times[{place}]", time, violations)
    if request.HasField("request_time"):
        _check_moment("request_time", request.request_time, violations)


def _check_moment(path: str, time: Timestamp, violations: Violations) -> None:
    if not _is_moment(time):
        text = f"must be in the years 1970 to 9999, got {time.seconds} s and {time.nanos} ns"
        violations.add(path, f"{text} since 1970")


def _is_moment(time: Timestamp) -> bool:
    return 0 <= time.seconds < MOMENTS_END_S and 0 <= time.nanos < _SECOND_NS


def _item_count(request: RecommendRequest) -> int:
    return request.item_count or DEFAULT_ITEM_COUNT


def _width(lists: Sequence[Sequence[str]]) -> int:
    """Return how wide the tensor of these lists is: Triton takes no empty axis."""
    return max(1, *map(len, lists))


def _padded(lists: Sequence[Sequence[str]]) -> npt.NDArray[np.object_]:
    """Return ``(B, longest or 1)`` object of bytes."""
    padded = np.full((len(lists), _width(lists)), b"", np.object_)
    for row, ids in enumerate(lists):
        padded[row, : len(ids)] = [item_id.encode() for item_id in ids]
    return padded


def _items(answer: Answer, row: int, request: RecommendRequest) -> list[RecommendedItem]:
    count = _item_count(request)
    ids = answer["item_ids"][row, :count].tolist()
    scores = answer["scores"][row, :count].tolist()
    because = answer["because_positions"][row, :count].tolist()
    history = request.history_item_ids
    return [
        RecommendedItem(
            item_id=item_id.decode(),
            score=score,
            # A history may name an item twice; the answer need not.
            because_item_ids=dict.fromkeys(
                history[place] for place in places if 0 <= place < len(history)
            ),
        )
        for item_id, score, places in zip(ids, scores, because, strict=True)
        if item_id
    ]


def _unknown_ids(answer: Answer, row: int, request: RecommendRequest) -> list[str]:
    sent = (
        ("history_known", request.history_item_ids),
        ("candidate_known", request.candidate_item_ids),
        ("excluded_known", request.excluded_item_ids),
    )
    unknown = (
        item_id
        for name, ids in sent
        if ids
        for item_id, known in zip(ids, answer[name][row].tolist(), strict=False)
        if not known
    )
    return list(dict.fromkeys(unknown))
