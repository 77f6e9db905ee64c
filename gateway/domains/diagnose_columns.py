"""Plain batches of measurements as columns: nothing is parsed, and few messages are made."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gateway.domains.columns import NumberColumns, NumberMap
from gateway.domains.diagnose import PLAIN_OUTPUTS as PLAIN_OUTPUTS
from gateway.domains.diagnose import sizes, tensors_to_responses
from gateway.domains.domain import Answer, Tensors, check_answer
from gateway.domains.plans import FEATURE_PLANS, Plans
from gateway.domains.templates import Template, element
from gateway.domains.validation import MAX_REQUEST_ID_LENGTH
from trident.common.v1.served_by_pb2 import ServedBy
from trident.diagnose.v1 import diagnose_service_pb2
from trident.diagnose.v1.diagnose_service_pb2 import (
    BatchDiagnoseRequest,
    BatchDiagnoseResponse,
    DiagnoseRequest,
    DiagnoseResponse,
    Finding,
)
from triton_models.release import Manifest
from triton_models.signatures import DIAGNOSE_MEASUREMENTS, MAX_BATCH_ROWS

NAME = "diagnose"
BATCH_LINE = DIAGNOSE_MEASUREMENTS.line
_MAX_PACKED_LABELS = 12
"""So many places of a number to the base of as many fit into 63 bits, and one bit is left."""
_MAX_TEMPLATES = 256
_RESPONSES = BatchDiagnoseResponse.DESCRIPTOR.fields_by_name["responses"].number


def read_batch(data: bytes, manifest: Manifest) -> Tensors | None:
    """Return the inputs for a serialised ``BatchDiagnoseRequest`` of plainly valid measurements.

    ``None`` if it must be parsed and checked. None of its requests wants an explanation.
    """
    columns = _COLUMNS.of(manifest)
    if columns is None:
        return None
    numbers = columns.read(data, MAX_BATCH_ROWS, MAX_REQUEST_ID_LENGTH)
    return None if numbers is None else {"numbers": numbers}


def write_batch(answer: Answer, tensors: Tensors, manifest: Manifest, served_by: ServedBy) -> bytes:
    """Return the serialised ``BatchDiagnoseResponse`` to what :func:`read_batch` has read."""
    rows = len(tensors["numbers"])
    check_answer(answer, PLAIN_OUTPUTS, manifest, sizes(rows, manifest))
    probabilities = answer["probabilities"].astype(np.float64)
    orders = np.argsort(-probabilities, axis=1, kind="stable")
    values = np.take_along_axis(probabilities, orders, axis=1)
    # What protobuf leaves out because it is 0, and what has notes, is written by itself.
    plain_rows = ~answer["input_rules"].any(axis=1) & (values[:, -1] > 0)
    unsure = values[:, 0] < (manifest.review_threshold or 0)
    responses: list[bytes] = [b""] * rows
    codes = np.where(plain_rows, 2 * _ranks(orders) + unsure, -1)
    for code in np.unique(codes).tolist():
        places = np.flatnonzero(codes == code)
        if code >= 0:
            order = tuple(orders[places[0]].tolist())
            template = _template(order, bool(code & 1), manifest, served_by)
            made = template.fill(values[places])
        else:
            part = {name: answer[name][places] for name in PLAIN_OUTPUTS}
            blank = [DiagnoseRequest()] * len(places)
            one_by_one = tensors_to_responses(part, blank, manifest, served_by)
            made = [element(_RESPONSES, response) for response in one_by_one]
        for place, response in zip(places.tolist(), made, strict=True):
            responses[place] = response
    return b"".join(responses)


def _ranks(orders: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return a number for each row of ``(B, K)``: the same for the same order of labels."""
    if orders.shape[1] <= _MAX_PACKED_LABELS:
        ranks: npt.NDArray[np.int64] = orders @ (_MAX_PACKED_LABELS ** np.arange(orders.shape[1]))
        return ranks
    return np.unique(orders, axis=0, return_inverse=True)[1].reshape(-1)


def _template(
    order: tuple[int, ...], unsure: bool, manifest: Manifest, served_by: ServedBy
) -> Template:
    """Return the response whose findings come in this order; made once."""
    templates = _TEMPLATES.of(manifest)
    key = (order, unsure, served_by.variant)
    if key not in templates:
        if len(templates) >= _MAX_TEMPLATES:
            templates.clear()
        templates[key] = Template(
            _RESPONSES,
            lambda values: DiagnoseResponse(
                findings=[
                    Finding(label=manifest.labels[k], probability=value)
                    for k, value in zip(order, values, strict=True)
                ],
                needs_review=unsure,
                review_reasons=(
                    [diagnose_service_pb2.REVIEW_REASON_LOW_CONFIDENCE] if unsure else []
                ),
                model=served_by,
            ),
            len(order),
        )
    return templates[key]


def _new_templates(manifest: Manifest) -> dict[tuple[tuple[int, ...], bool, str], Template]:
    return {}


_TEMPLATES = Plans(_new_templates)


def _number_columns(manifest: Manifest) -> NumberColumns | None:
    """Return what reads batches for a release, if all of its features are plain numbers."""
    if not FEATURE_PLANS.of(manifest).only_plain_numbers:
        return None
    return NumberColumns(_MEASUREMENT_MAP, manifest.number_places)


_COLUMNS = Plans(_number_columns)
_MEASUREMENT_MAP = NumberMap.of(BatchDiagnoseRequest, "measurements", "values")
