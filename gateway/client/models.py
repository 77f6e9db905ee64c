"""What is served, as tables."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from gateway.client.answers import new_table
from gateway.client.text import number, plain
from trident.model.v1 import model_service_pb2 as model_pb

_HEADLINES = ("ndcg@10", "hr@10", "auc", "accuracy")
"""The measures that stand for a release where there is room for two."""


def print_models(console: Console, models: Iterable[model_pb.Model]) -> None:
    """Print one line for each release."""
    table = new_table("release", "domain", "traffic", "trained on, test metrics",
                      numbers=("traffic",))  # fmt: skip
    table.columns[0].no_wrap = True  # it is copied into other commands
    models = list(models)
    for model in models:
        traffic = f"{100 * model.weight:.3g} %" if model.serving else "down"
        cells = (f"{model.line}/{model.release}", model.domain, traffic)
        about = f"{plain(model.data_set)}\n{plain(_headline(model))}"
        table.add_row(*(Text(plain(cell)) for cell in cells), Text(about),
                      style="" if model.serving else "red")  # fmt: skip
    console.print(table)
    if not models:
        console.print("No release is routed. Build one: model-builder build risk")
    for model in models:
        if not model.serving:
            text = f"{model.line}/{model.release} does not serve: {model.serving_detail}"
            console.print(Text(plain(text), style="red"))
        elif model.serving_detail:
            text = (
                f"{model.line}/{model.release} serves, but not everywhere: {model.serving_detail}"
            )
            console.print(Text(plain(text), style="yellow"))


def print_model(console: Console, model: model_pb.Model) -> None:
    """Print what a client needs to know of one release."""
    state = "serving" if model.serving else f"not serving: {model.serving_detail}"
    head = f"{model.line}/{model.release} ({model.variant or 'no variant'}), {state}"
    console.print(Text(plain(head), style="bold"))
    created = model.create_time.ToDatetime().strftime("%Y-%m-%d %H:%M UTC")
    console.print(Text(plain(f"Trained on {model.data_set}, built {created}")))
    if model.item_count:
        times = ", and reads when they were had" if model.reads_times else ""
        console.print(Text(f"Knows {model.item_count:,} items{times}"))
    if model.labels:
        console.print(Text(f"Findings: {', '.join(map(plain, model.labels))}"))
    if model.bands:
        bands = ", ".join(f"{plain(b.name)} from {number(b.minimum_score)}" for b in model.bands)
        console.print(Text(f"Bands: {bands}"))
    if model.metrics:
        _print_metrics(console, model)
    if model.features:
        _print_features(console, model)


def _print_metrics(console: Console, model: model_pb.Model) -> None:
    table = new_table("metric", "split", "value", "95 % interval", numbers=("value",))
    for metric in model.metrics:
        interval = f"{metric.low:.4f} – {metric.high:.4f}"
        table.add_row(Text(plain(metric.name)), Text(plain(metric.split)),
                      f"{metric.value:.4f}", interval)  # fmt: skip
    console.print(table)


def _print_features(console: Console, model: model_pb.Model) -> None:
    table = new_table("feature", "unit", "accepted", "if missing", "if unknown", "meaning")
    for column in table.columns[:3]:  # what a caller types is never cut
        column.overflow = "fold"
    table.columns[0].no_wrap = True
    for feature in model.features:
        rules = (_rule(feature.missing_rule), _rule(feature.unknown_rule))
        cells = (plain(feature.name), plain(feature.unit), _accepted(feature), *rules,
                 plain(feature.description))  # fmt: skip
        table.add_row(*map(Text, cells))
    console.print(table)


def _accepted(feature: model_pb.Feature) -> str:
    if feature.kind == model_pb.FEATURE_KIND_CATEGORY:
        return "\n".join(map(plain, feature.categories))  # they may hold commas
    if feature.codes:
        return ", ".join(map(number, feature.codes))
    if not feature.HasField("minimum") and not feature.HasField("maximum"):
        return "any number"
    low = number(feature.minimum) if feature.HasField("minimum") else "−∞"
    high = number(feature.maximum) if feature.HasField("maximum") else "∞"
    return f"{low} to {high}"


def _rule(rule: model_pb.FeatureRule) -> str:
    return model_pb.FeatureRule.Name(rule).removeprefix("FEATURE_RULE_").lower()


def _headline(model: model_pb.Model) -> str:
    test = {metric.name: metric.value for metric in model.metrics if metric.split == "test"}
    names = [name for name in _HEADLINES if name in test] or sorted(test)
    return ", ".join(f"{name} {test[name]:.3f}" for name in names[:2])
