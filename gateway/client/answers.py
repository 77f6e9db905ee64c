"""Answers as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.client.inputs import Value
from gateway.client.text import number, percent, plain
from trident.common.v1.input_note_pb2 import InputNote, InputRule
from trident.common.v1.served_by_pb2 import ServedBy
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose_pb
from trident.model.v1 import model_service_pb2 as model_pb
from trident.recommend.v1 import recommend_service_pb2 as recommend_pb
from trident.risk.v1 import risk_service_pb2 as risk_pb

_MOST_CONTRIBUTIONS = 10
_MOST_WORDS = 60
_RULES = {
    InputRule.INPUT_RULE_IMPUTED: "was missing: the typical value was used",
    InputRule.INPUT_RULE_CLIPPED_TO_MINIMUM: "was below the known range: its minimum was used",
    InputRule.INPUT_RULE_CLIPPED_TO_MAXIMUM: "was above the known range: its maximum was used",
    InputRule.INPUT_RULE_OUT_OF_RANGE_AS_MISSING: "was out of range: treated as missing",
    InputRule.INPUT_RULE_UNKNOWN_AS_MISSING: "was not known: treated as missing",
    InputRule.INPUT_RULE_TRUNCATED: "was longer than the release reads: its end was cut off",
}
_REVIEW = {
    diagnose_pb.REVIEW_REASON_LOW_CONFIDENCE: "no finding is probable enough",
    diagnose_pb.REVIEW_REASON_UNUSUAL_EVIDENCE: "the evidence is unlike the training data",
}

Features = Mapping[str, model_pb.Feature]


def new_table(*columns: str, numbers: Sequence[str] = (), title: str | None = None) -> Table:
    """Return an empty table with some columns to the right."""
    table = Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, show_edge=False
    )
    for column in columns:
        right = column in numbers
        table.add_column(column, justify="right" if right else "left", no_wrap=right)
    return table


def print_recommendations(
    console: Console,
    request: recommend_pb.RecommendRequest,
    response: recommend_pb.RecommendResponse,
    titles: Mapping[str, str],
) -> None:
    """Print recommended items, with titles where they are known."""

    def named(item: str) -> str:
        title = titles.get(item)
        return plain(f"{title} ({item})" if title else item)

    if request.history_item_ids:
        history = ", ".join(named(item) for item in request.history_item_ids)
        console.print(Text(f"History: {history}"))
    columns = ["#", "item", "probability", "because of"]
    if titles:
        columns.insert(2, "title")
    table = new_table(*columns, numbers=("#", "item", "probability"))
    for place, item in enumerate(response.items, start=1):
        because = ", ".join(named(one) for one in item.because_item_ids)
        cells = [str(place), plain(item.item_id), percent(item.score), because]
        if titles:
            cells.insert(2, plain(titles.get(item.item_id, "")))
        table.add_row(*map(Text, cells))
    console.print(table)
    if response.unknown_item_ids:
        unknown = ", ".join(map(plain, response.unknown_item_ids))
        console.print(Text(f"Not in the catalogue: {unknown}"))
    _print_model(console, response.model)


def print_diagnosis(
    console: Console,
    request: diagnose_pb.DiagnoseRequest,
    response: diagnose_pb.DiagnoseResponse,
    features: Features,
) -> None:
    """Print findings, and what speaks for the first."""
    table = new_table("finding", "probability", numbers=("probability",))
    for finding in response.findings:
        table.add_row(Text(plain(finding.label)), percent(finding.probability))
    console.print(table)
    if response.needs_review:
        reasons = "; ".join(_REVIEW.get(one, "") for one in response.review_reasons)
        console.print(Text(f"A person must look: {reasons}.", style="bold yellow"))
    contributions = response.explanation.contributions.measurements
    if contributions:
        title = f"What speaks for '{plain(response.explanation.label)}' (log-odds)"
        table = new_table("measurement", "value", "contribution", numbers=("value", "contribution"),
                          title=title)  # fmt: skip
        values = request.measurements.values
        for one in contributions[:_MOST_CONTRIBUTIONS]:
            shown = _with_unit(values.get(one.name), features.get(one.name))
            table.add_row(Text(plain(one.name)), Text(shown), f"{one.contribution:+.3f}")
        console.print(table)
        if (more := len(contributions) - _MOST_CONTRIBUTIONS) > 0:
            console.print(Text(f"… and {more} more (--json has all)"))
    words = response.explanation.token_weights.tokens
    if words:
        label = plain(response.explanation.label)
        console.print(Text(f"What speaks for '{label}', in the order of the note:"))
        table = new_table("word", "weight", numbers=("weight",))
        for word in words[:_MOST_WORDS]:
            table.add_row(Text(plain(word.token)), f"{word.weight:+.3f}")
        console.print(table)
        if (more := len(words) - _MOST_WORDS) > 0:
            console.print(Text(f"… and {more} more (--json has all)"))
    if response.explanation.saliency.png:
        label = plain(response.explanation.label)
        size = len(response.explanation.saliency.png)
        console.print(
            Text(f"A picture of {size:,} bytes shows where '{label}' is seen (--saliency FILE).")
        )
    _print_notes(console, response.input_notes)
    _print_model(console, response.model)


def print_risk(
    console: Console,
    request: risk_pb.ScoreRiskRequest,
    response: risk_pb.ScoreRiskResponse,
    features: Features,
) -> None:
    """Print a score and its reasons."""
    table = new_table("probability of default", "score (300–850)", "band",
                      numbers=("probability of default", "score (300–850)"))  # fmt: skip
    table.add_row(
        percent(response.default_probability), f"{response.score:.0f}", Text(plain(response.band))
    )
    console.print(table)
    if response.reasons:
        table = new_table("reason", "value", "log-odds", "in words", numbers=("log-odds",))
        for reason in response.reasons:
            sent = request.features.get(reason.feature)
            value: Value | None = None
            if sent is not None and sent.WhichOneof("kind"):
                value = sent.number if sent.HasField("number") else sent.category
            shown = _with_unit(value, features.get(reason.feature))
            table.add_row(
                Text(plain(reason.feature)),
                Text(shown),
                f"{reason.contribution:+.3f}",
                Text(plain(reason.text)),
            )
        console.print(table)
    else:
        console.print("Nothing raised the risk.")
    _print_notes(console, response.input_notes)
    _print_model(console, response.model)


def _with_unit(value: Value | None, feature: model_pb.Feature | None) -> str:
    if value is None:
        return "missing"
    text = plain(value) if isinstance(value, str) else number(value)
    return f"{text} {plain(feature.unit)}" if feature is not None and feature.unit else text


def _print_notes(console: Console, notes: Iterable[InputNote]) -> None:
    for note in notes:
        rule = _RULES.get(note.rule, InputRule.Name(note.rule))
        console.print(Text(f"Note: {plain(note.feature)} {rule}"))


def _print_model(console: Console, model: ServedBy) -> None:
    text = f"By {plain(model.line)}/{plain(model.release)} ({plain(model.variant)})"
    console.print(Text(text, style="dim"))
