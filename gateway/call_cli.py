"""``gateway call``: a small typed client for people."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.client.connection import Connection, connected

if TYPE_CHECKING:
    from gateway.client.caller import Caller
    from trident.model.v1.model_service_pb2 import Model

_EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_GET_MODEL = "trident.model.v1.ModelService/GetModel"
_LIST_MODELS = "trident.model.v1.ModelService/ListModels"


@click.group("call")
def call() -> None:
    """Call a running gateway."""


@call.command()
@click.option("--history", multiple=True, metavar="ID[,ID…]", help="Items, oldest first.")
@click.option("--count", type=int, default=0, metavar="N", help="Items wanted; by default 10.")
@click.option("--candidates", multiple=True, metavar="ID[,ID…]", help="Rank only these.")
@click.option("--exclude", multiple=True, metavar="ID[,ID…]", help="Never recommend these.")
@click.option("--history-allowed", is_flag=True, help="History items may come again.")
@click.option("--user", default="", metavar="ID", help="The user; stays on one release.")
@click.option("--context", "files", multiple=True, metavar="FILE.json|NAME=VALUE",
              help="What the ranker reads of the moment; repeatable.")  # fmt: skip
@click.option("--times", multiple=True, metavar="TIME[,TIME…]",
              help="When each of --history was had: ISO 8601 (UTC if it does not say), or seconds "
                   "since 1970; 0 is not known.")  # fmt: skip
@click.option("--at", metavar="TIME|now", help="When the recommendation is for, likewise.")
@click.option("--titles", type=_EXISTING_FILE, metavar="CSV",
              help="Show titles: a CSV with columns id and title, such as movies.csv.")  # fmt: skip
@connected
def recommend(
    connection: Connection,
    history: tuple[str, ...],
    count: int,
    candidates: tuple[str, ...],
    exclude: tuple[str, ...],
    history_allowed: bool,
    user: str,
    files: tuple[str, ...],
    times: tuple[str, ...],
    at: str | None,
    titles: Path | None,
) -> None:
    """Recommend items from a history.

    Example: gateway call recommend --history 260,1196,1210 --count 5
    """
    from gateway.client.answers import print_recommendations
    from gateway.client.inputs import (
        feature_value,
        read_time,
        read_titles,
        read_values,
        split_ids,
    )
    from trident.recommend.v1 import recommend_service_pb2 as pb

    title_of = read_titles(titles) if titles else {}
    request = pb.RecommendRequest(
        user_id=user,
        history_item_ids=split_ids(history),
        item_count=_int32(count, "--count"),
        candidate_item_ids=split_ids(candidates),
        excluded_item_ids=split_ids(exclude),
        history_allowed=history_allowed,
        history_times=[read_time(text, "--times") for text in split_ids(times)],
        request_time=None if at is None else read_time(at, "--at"),
    )
    method = "trident.recommend.v1.RecommendService/Recommend"
    with connection.caller() as caller:
        if files:
            known = {one.name: one for one in _schema(caller, "recommend", "").features}
            for name, value in read_values(files).items():
                request.context[name].CopyFrom(feature_value(value, known.get(name)))
        response = caller.call(method, request, pb.RecommendResponse)
    connection.print(
        response, lambda console: print_recommendations(console, request, response, title_of)
    )


@call.command()
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]…")
@click.option("--measurements", multiple=True, metavar="FILE.json|NAME=VALUE",
              help="An object of names and numbers, or one measurement; repeatable.")  # fmt: skip
@click.option("--image", type=_EXISTING_FILE,
              help="A PNG, JPEG or DICOM file in place of measurements.")  # fmt: skip
@click.option("--saliency", type=click.Path(dir_okay=False, path_type=Path),
              help="Where the picture goes that explains an image; asks for it.")  # fmt: skip
@click.option("--note", metavar="TEXT", help="Free text in place of measurements; - reads it.")
@click.option("--example", is_flag=True, help="Send an example, made from the schema.")
@click.option("--explain", is_flag=True, help="Say what speaks for the first finding.")
@connected
def diagnose(
    connection: Connection,
    values: tuple[str, ...],
    measurements: tuple[str, ...],
    image: Path | None,
    saliency: Path | None,
    note: str | None,
    example: bool,
    explain: bool,
) -> None:
    """Give the probability of each finding from measurements, an image or a note.

    Examples: gateway call diagnose --example --explain;
    gateway call diagnose --image xray.png --saliency where.png;
    gateway call diagnose --note "fever and chills since Sunday" --explain
    """
    if sum((image is not None, note is not None, bool(measurements or values or example))) > 1:
        raise click.UsageError("give one of --image, --note and measurements")
    if saliency is not None and image is None:
        raise click.UsageError("--saliency explains an image: give one with --image")
    if image is not None:
        _diagnose_image(connection, image, saliency, explain)
        return
    if note is not None:
        _diagnose_note(connection, note, explain)
        return
    from gateway.client.answers import print_diagnosis
    from gateway.client.inputs import example_values, measurement, read_values
    from trident.diagnose.v1 import diagnose_service_pb2 as pb

    given = _given(measurements + values, example)
    with connection.caller() as caller:
        features = {}
        if example or not connection.as_json:
            model = _schema(caller, "diagnose", "diagnose-measurements")
            features = {feature.name: feature for feature in model.features}
        sent = (example_values(features.values()) if example else {}) | read_values(given)
        request = pb.DiagnoseRequest(explain=explain)
        request.measurements.SetInParent()
        for name, value in sent.items():
            request.measurements.values[name] = measurement(name, value)
        method = "trident.diagnose.v1.DiagnoseService/Diagnose"
        response = caller.call(method, request, pb.DiagnoseResponse)
    connection.print(
        response, lambda console: print_diagnosis(console, request, response, features)
    )


def _diagnose_image(
    connection: Connection, image: Path, saliency: Path | None, explain: bool
) -> None:
    from gateway.client.answers import print_diagnosis
    from gateway.client.inputs import read_image
    from trident.diagnose.v1 import diagnose_service_pb2 as pb

    explain = explain or saliency is not None
    request = pb.DiagnoseRequest(image=read_image(image), explain=explain)
    with connection.caller() as caller:
        method = "trident.diagnose.v1.DiagnoseService/Diagnose"
        response = caller.call(method, request, pb.DiagnoseResponse)
    if saliency is not None:
        saliency.write_bytes(response.explanation.saliency.png)
    connection.print(response, lambda console: print_diagnosis(console, request, response, {}))


def _diagnose_note(connection: Connection, note: str, explain: bool) -> None:
    from gateway.client.answers import print_diagnosis
    from trident.diagnose.v1 import diagnose_service_pb2 as pb

    text = sys.stdin.read() if note == "-" else note
    request = pb.DiagnoseRequest(note=text, explain=explain)
    with connection.caller() as caller:
        method = "trident.diagnose.v1.DiagnoseService/Diagnose"
        response = caller.call(method, request, pb.DiagnoseResponse)
    connection.print(response, lambda console: print_diagnosis(console, request, response, {}))


@call.command("score-risk")
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]…")
@click.option("--features", "files", multiple=True, metavar="FILE.json|NAME=VALUE",
              help="An object of names and values, or one feature; repeatable.")  # fmt: skip
@click.option("--example", is_flag=True, help="Send an example, made from the schema.")
@click.option("--reasons", type=int, metavar="N", help="Reasons wanted; by default 4.")
@connected
def score_risk(
    connection: Connection,
    values: tuple[str, ...],
    files: tuple[str, ...],
    example: bool,
    reasons: int | None,
) -> None:
    """Score the risk that a credit is not paid back.

    Example: gateway call score-risk --example duration_months=48
    """
    from gateway.client.answers import print_risk
    from gateway.client.inputs import example_values, feature_value, read_values
    from trident.risk.v1 import risk_service_pb2 as pb

    given = _given(files + values, example)
    with connection.caller() as caller:
        model = _schema(caller, "risk", "")
        features = {feature.name: feature for feature in model.features}
        sent = (example_values(model.features) if example else {}) | read_values(given)
        request = pb.ScoreRiskRequest(
            features={name: feature_value(one, features.get(name)) for name, one in sent.items()},
            reason_count=None if reasons is None else _int32(reasons, "--reasons"),
        )
        method = "trident.risk.v1.RiskService/ScoreRisk"
        response = caller.call(method, request, pb.ScoreRiskResponse)
    connection.print(response, lambda console: print_risk(console, request, response, features))


@call.command()
@click.option("--domain", type=click.Choice(["recommend", "diagnose", "risk"]),
              help="Show one release of this domain with its schema.")  # fmt: skip
@click.option("--release", default="", help="Which; by default the one with most traffic.")
@click.option("--line", default="", help="Of a domain with several, such as diagnose-image.")
@connected
def models(connection: Connection, domain: str | None, release: str, line: str) -> None:
    """List what is served; with --domain, show its schema and metrics."""
    from gateway.client.models import print_model, print_models
    from trident.model.v1 import model_service_pb2 as pb

    if (release or line) and not domain:
        raise click.UsageError("--release and --line need --domain")
    with connection.caller() as caller:
        if domain is None:
            listed = caller.call(_LIST_MODELS, pb.ListModelsRequest(), pb.ListModelsResponse)
            connection.print(listed, lambda console: print_models(console, listed.models))
            return
        request = pb.GetModelRequest(domain=domain, release=release, line=line)
        shown = caller.call(_GET_MODEL, request, pb.GetModelResponse)
        connection.print(shown, lambda console: print_model(console, shown.model))


def _schema(caller: Caller, domain: str, line: str) -> Model:
    from trident.model.v1 import model_service_pb2 as pb

    request = pb.GetModelRequest(domain=domain, line=line)
    return caller.quietly(_GET_MODEL, request, pb.GetModelResponse).model


def _given(values: tuple[str, ...], example: bool) -> tuple[str, ...]:
    if not values and not example:
        raise click.UsageError("give NAME=VALUE pairs, a JSON file, or --example")
    return values


def _int32(value: int, option: str) -> int:
    """Return a number that the message can hold; its range is for the gateway to check."""
    if not -(2**31) <= value < 2**31:
        raise click.BadParameter("must fit into 32 bits", param_hint=option)
    return value
