"""The model card: what a person should know of a release, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import JsonValue

from triton_models.plans import Plan, architecture
from triton_models.release import Cutoff, GroupFairness, Manifest, Metric, ScoreBand, Stages


def model_card(manifest: Manifest, headline: Sequence[str] = ()) -> str:
    """Return the card of a release; ``headline`` are the metrics that come first."""
    parts = [f"# {manifest.line}/{manifest.release}\n"]
    if manifest.data.generated:
        parts.append("**Built from made-up data. For trying out, never for use.**\n")
    parts.append(_facts(manifest))
    if manifest.data.findings:
        lines = "".join(f"* {line}\n" for line in manifest.data.findings)
        parts.append(f"## What was found in the data\n\n{lines}")
    parts.append("## Metrics\n\nWith 95 % intervals, beside simple baselines.\n")
    parts.append(_metrics(manifest, headline))
    parts += _risk(manifest)
    if manifest.stages is not None:
        parts.append(_stages(manifest, manifest.stages, headline))
    parts.append("## Steps\n\n" + _table(("step", "role", "model"), _steps(manifest)))
    parts += _on_gpus(manifest)
    parts.append(
        f"## Parity\n\nLargest difference from {yardstick(manifest)}: of the exported steps "
        "(ensemble), and of the one model that they are merged into (fused).\n\n"
        + _table(("output", "rows", "ensemble", "fused", "tolerance"), _parity(manifest))
    )
    if manifest.served_parity:
        parts.append(
            "## Proof\n\nLargest difference of what a real Triton served, and of what a gateway in "
            "front of it answered: one row at a time, and in the largest batches.\n\n"
            + _table(("output", "rows", *manifest.served_parity), _served(manifest))
        )
    if manifest.latency:
        header = ("variant", "median", "95 % within")
        parts.append("## Latency\n\nOf one row.\n\n" + _table(header, _latency(manifest)))
    if manifest.checks:
        rows = ((c.name, c.wanted, c.found, "" if c.passed else "refused") for c in manifest.checks)
        parts.append(
            f"## Gate\n\n{manifest.verdict.capitalize()}.\n\n"
            + _table(("rule", "wanted", "found", ""), rows)
        )
    if manifest.features:
        rows = ((f.name, f.kind, f.unit, f.description) for f in manifest.features)
        parts.append("## Features\n\n" + _table(("name", "kind", "unit", "meaning"), rows))
    if manifest.labels:
        parts.append("## Labels\n\n" + ", ".join(manifest.labels) + "\n")
    settings = settings_of(manifest.hyperparameters)
    parts.append("## Hyperparameters\n\n" + _table(("name", "value"), settings))
    return "\n".join(parts)


def settings_of(values: Mapping[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Return name and value of every setting; those of a group are ``GROUP.NAME``."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from settings_of(value, f"{prefix}{key}.")
        else:
            yield prefix + key, str(value)


def _risk(manifest: Manifest) -> Iterator[str]:
    if manifest.cutoff is None:
        return
    cutoff = manifest.cutoff
    yield (
        "## Use\n\nScores applicants like those of the data above, for a person or a policy to "
        "decide on. Reasons are each feature's share of how far the log-odds of default lie from "
        "those of an applicant who is typical throughout; they say what moved this model, not what "
        "causes default.\n"
    )
    yield (
        f"Calibrated by {manifest.calibration}. Typical applicant: "
        f"score {manifest.reference_score:.1f}; a contribution of 1 takes "
        f"{manifest.points_per_log_odds:.2f} points from it.\n"
    )
    yield "## Bands\n\n" + _table(BAND_HEADER, band_rows(manifest.bands))
    yield f"{cutoff_text(cutoff)}\n"
    if manifest.fairness:
        yield "## Fairness at the cut-off\n\n" + _table(
            FAIRNESS_HEADER, fairness_rows(manifest.fairness)
        )


def _stages(manifest: Manifest, stages: Stages, headline: Sequence[str]) -> str:
    rows = [
        (
            split,
            name,
            metric_text(measured[name]),
            metric_text(manifest.metrics[split][name]),
            percent(stages.found[split]),
        )
        for split, measured in stages.first_stage.items()
        for name in headline
        if name in measured
    ]
    header = ("split", "", "first stage alone", "both stages", "on the shortlist")
    return f"## Stages\n\n{stages_text(stages)}\n\n" + _table(header, rows)


def stages_text(stages: Stages) -> str:
    """Return what the stages of a recommender do, in words."""
    gain = f"{stages.ranker_gain:+.4f} NDCG@10 on the validation split"
    second = f"the second orders them ({gain})"
    if not stages.ranker_kept:
        second = f"the second leaves their order as it is: what it learnt was no better ({gain})"
    return f"The first stage finds {stages.shortlist} items; {second}."


BAND_HEADER = ("band", "from", "rows", "bad rate")


def band_rows(bands: Iterable[ScoreBand]) -> Iterator[tuple[str, ...]]:
    """Return the cells of each band, under ``BAND_HEADER``."""
    for band in bands:
        yield band.name, f"{band.minimum_score:g}", percent(band.share), percent(band.bad_rate)


def cutoff_text(cutoff: Cutoff) -> str:
    """Say where the cut-off lies, and what it does."""
    return (
        f"Cut-off {cutoff.minimum_score:g}, chosen for {cutoff.chosen_for}: approves "
        f"{percent(cutoff.approval_rate)}, of whom {percent(cutoff.bad_rate)} default."
    )


FAIRNESS_HEADER = (
    "group", "rows", "approved", "ratio", "approved of the paid", "promised", "happened",
)  # fmt: skip


def fairness_rows(groups: Iterable[GroupFairness]) -> Iterator[tuple[str, ...]]:
    """Return how each group fares, under ``FAIRNESS_HEADER``."""
    for group in groups:
        yield (
            f"{group.attribute}: {group.group}",
            str(group.rows),
            metric_text(group.approval_rate),
            "–" if group.approval_ratio is None else f"{group.approval_ratio:.2f}",
            metric_text(group.paid_approval_rate),
            f"{group.promised:.4f}",
            metric_text(group.happened),
        )


def percent(value: float | None) -> str:
    """Return a share in percent, ``–`` for none."""
    return "–" if value is None else f"{value:.1%}"


def metric_names(manifest: Manifest, split: str, headline: Sequence[str] = ()) -> list[str]:
    """Return the metrics of a split, those of ``headline`` first."""
    measured = manifest.metrics[split]
    first = [name for name in headline if name in measured]
    return first + [name for name in measured if name not in first]


def metric_text(metric: Metric | None) -> str:
    """Return a metric with its interval, ``–`` for none."""
    if metric is None:
        return "–"
    return f"{metric.value:.4f} [{metric.low:.4f}, {metric.high:.4f}]"


def yardstick(manifest: Manifest) -> str:
    """Return what the exported steps were compared with, such as ``torch``."""
    compared = {parity.compared.split("-")[0] for parity in manifest.parity.values()}
    return " and ".join(sorted(compared)) or "torch"


def _facts(manifest: Manifest) -> str:
    data = manifest.data
    split = ", ".join(f"{rows} {name}" for name, rows in data.split.items())
    rows = [
        ("signature", manifest.signature or ""),
        ("built", f"{manifest.create_time:%Y-%m-%d %H:%M} UTC, seed {manifest.seed}"),
        ("run", manifest.run),
        ("went on from", _warm_start(manifest)),
        ("child of", _derived(manifest)),
        ("data", f"{data.name}, {data.rows} rows" + (f" ({split})" if split else "")),
        ("data sha256", data.sha256),
        ("split sha256", data.split_sha256),
        ("source", data.source),
        ("licence", data.licence),
        ("protocol", data.protocol),
        ("commit", manifest.git_commit),
        ("versions", ", ".join(f"{name} {text}" for name, text in manifest.versions.items())),
    ]
    return _table(("", ""), (row for row in rows if row[1]))


def _derived(manifest: Manifest) -> str:
    derived = manifest.derived
    if derived is None:
        return ""
    return f"{derived.release}, {derived.variant} ({', '.join(derived.steps)}): {derived.how}"


def _warm_start(manifest: Manifest) -> str:
    start = manifest.warm_start
    if start is None:
        return ""
    return (
        f"{start.release}: {start.items_kept} items kept their vectors ({start.items_unseen} of "
        f"them are not in this log), {start.items_new} are new"
    )


def _metrics(manifest: Manifest, headline: Sequence[str]) -> str:
    baselines = manifest.baselines
    tables = []
    for split in manifest.metrics:
        rows = (
            (
                name,
                metric_text(manifest.metrics[split][name]),
                *(metric_text(splits.get(split, {}).get(name)) for splits in baselines.values()),
            )
            for name in metric_names(manifest, split, headline)
        )
        tables.append(_table((split, "this release", *baselines), rows))
    return "\n".join(tables)


def _steps(manifest: Manifest) -> Iterable[tuple[str, ...]]:
    return ((step.name, step.role, f"`{step.model}`") for step in manifest.steps)


def _on_gpus(manifest: Manifest) -> Iterator[str]:
    if manifest.tensorrt:
        rows = [
            (name, "ready" if found.ready else "not ready", "; ".join(found.because))
            for name, found in manifest.tensorrt.items()
        ]
        against = ", ".join(sorted({one.checked_against for one in manifest.tensorrt.values()}))
        text = f"By what is published of {against}; nobody has tried by this."
        yield f"## TensorRT\n\n{text}\n\n" + _table(("core", "", "because"), rows)
    if manifest.plans:
        yield "## Plans\n\n" + _table(PLAN_HEADER, plan_rows(manifest.plans))


PLAN_HEADER = ("step", "plan", "precision", "GPU", "TensorRT", "difference")


def plan_rows(plans: Iterable[Plan]) -> Iterator[tuple[str, ...]]:
    """Return the cells of each plan, under ``PLAN_HEADER``."""
    for plan in plans:
        yield (
            plan.step,
            plan.file.rpartition("/")[2],
            plan.precision,
            plan.gpu or architecture(plan.compute_capability),
            plan.tensorrt,
            f"{max(plan.difference.values(), default=0.0):.2g}",
        )


def _parity(manifest: Manifest) -> Iterable[tuple[str, ...]]:
    for output, parity in manifest.parity.items():
        fused = manifest.fused_parity.get(output)
        yield (
            output,
            str(parity.rows),
            f"{parity.max_difference:.2g}",
            f"{fused.max_difference:.2g}" if fused else "–",
            f"{parity.tolerance:.2g}",
        )


def _served(manifest: Manifest) -> Iterable[tuple[str, ...]]:
    served = manifest.served_parity
    for output, parity in next(iter(served.values())).items():
        found = (outputs.get(output) for outputs in served.values())
        yield (
            output,
            str(parity.rows),
            *(f"{one.max_difference:.2g}" if one else "–" for one in found),
        )


def _latency(manifest: Manifest) -> Iterable[tuple[str, ...]]:
    for variant, one in manifest.latency.items():
        yield variant, f"{one.median_ms:.3g} ms", f"{one.p95_ms:.3g} ms"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    cells = ((cell.replace("|", "\\|").replace("\n", " ") for cell in line) for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)
