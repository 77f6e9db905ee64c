"""Networks for credit risk beside logistic regression and gradient boosting, cross-validated.

    TRIDENT_DATA_DIR=… .venv/bin/python -m benchmarks.credit_models --data german-credit
    TRIDENT_DATA_DIR=… .venv/bin/python -m benchmarks.credit_models --data credit-card-default \
        --repeats 1 --models packed,lightgbm,logistic_regression

All models see the same folds. A network takes its validation, its calibration and the choice of its
epoch from inside the training part of a fold; the fold itself only measures it. ``teachers`` are
the trees that teach the network, grown on all of that part. ECE is over the rows of all folds, and
stands beside what chance makes of so many when every probability is right. Results are kept in a
file line by line: what is there is not run again, so the benchmark can be stopped and gone on with.
Ends with 1 if the first model is below the bar of the data, or below a baseline.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit
from sklearn.model_selection import StratifiedKFold

from benchmarks.credit_contenders import Contender
from model_builder.datasets import resolve
from model_builder.evaluation.metrics import auc, brier, ece, ece_by_chance, log_loss
from model_builder.progress import SilentProgress
from model_builder.risk.boosting import Boosting, boosted
from model_builder.risk.config import RiskConfig
from model_builder.risk.judging import judged
from model_builder.risk.teaching import TREES
from model_builder.tabular.encoding import fit_encoding
from model_builder.tabular.evaluation import logistic_regression
from model_builder.tabular.fitting import fit_splits
from model_builder.tabular.loading import load_table
from model_builder.tabular.preparation import prepare
from model_builder.tabular.schema import infer_features
from model_builder.tabular.splits import Splits, make_splits
from model_builder.tabular.table import Table
from model_builder.tabular.targets import outcome_target

CONFIGS: dict[str, RiskConfig] = {
    "packed": RiskConfig(),
    "residual": RiskConfig(network="residual", depth=1, dropout=0.5),
    "periodic": Contender(kind="periodic", cross_validate_below=5000),
    "transformer": Contender(
        kind="transformer", cross_validate_below=5000, learning_rate=1e-3, weight_decay=0.01
    ),
}
BASELINES = ("lightgbm", "logistic_regression")
BARS = {"german-credit": 0.79, "credit-card-default": 0.785}
Rows = npt.NDArray[np.int64]


def outer_splits(table: Table, learned: Rows, asked: Rows, config: RiskConfig) -> Splits:
    """Return splits whose test is a fold, and whose development is all else."""
    inner = make_splits(
        table.target[learned],
        test_share=0.15,
        folds=config.folds,
        repeats=config.repeats,
        cross_validate_below=config.cross_validate_below,
        members=config.members,
        seed=config.seed,
    )
    held_out = np.zeros((len(learned), inner.held_out.shape[1]), np.bool_)
    if inner.cross_validated:
        folds = StratifiedKFold(config.folds, shuffle=True, random_state=config.seed)
        for fold, (_, judged) in enumerate(folds.split(learned, table.target[learned])):
            held_out[judged, fold] = True
    else:
        held_out[inner.test] = True
    return Splits(learned, asked, held_out, inner.cross_validated)


def answers(model: str, table: Table, learned: Rows, asked: Rows) -> npt.NDArray[Any]:
    """Return the probabilities of default that a model gives to a fold."""
    if model == "lightgbm":
        return boosted(table, learned, asked, seed=0)
    if model == "teachers":
        return Boosting(table, trees=TREES, related=True).learned(learned, asked, seed=0)
    features = infer_features(table, learned)
    numbers, words = table.numbers, table.categories
    if model == "logistic_regression":
        encoding = fit_encoding(features, numbers[learned], words[learned])
        inputs, _ = prepare(encoding, numbers, words)
        return logistic_regression(inputs[learned], table.target[learned], inputs[asked])[:, 1]
    config = CONFIGS[model]
    splits = outer_splits(table, learned, asked, config)
    rows = splits.training
    pieces = config.pieces_for(len(rows))
    Contender.owners = fit_encoding(features, numbers[rows], words[rows], pieces).owners
    lessons = config.lessons_for(table, splits, SilentProgress())
    fitted = fit_splits(table, splits, config, 1, SilentProgress(), lessons=lessons)
    network = fitted.trained.network.eval()
    inputs = torch.from_numpy(fitted.inputs[asked])
    with torch.no_grad():
        logits = torch.cat([network(part).mean(dim=0) for part in inputs.split(1000)])[:, 0]
    calibration = judged(fitted, config.calibration).calibration
    return np.asarray(expit(calibration.log_odds(logits.numpy())))


def runs(table: Table, repeats: int) -> Iterator[tuple[int, int, Rows, Rows]]:
    """Give repeat, fold, and the rows to learn from and to answer for."""
    for repeat in range(repeats):
        folds = StratifiedKFold(5, shuffle=True, random_state=repeat)
        for fold, (learned, asked) in enumerate(folds.split(table.target, table.target)):
            yield repeat, fold, np.asarray(learned), np.asarray(asked)


def table_of(done: dict[tuple[str, int, int], dict[str, Any]], table: Table) -> dict[str, Any]:
    """Return the measures by model: the mean AUC of the folds, the rest over all their rows."""
    found: dict[str, Any] = {}
    for model in dict.fromkeys(key[0] for key in done):
        mine = [line for key, line in done.items() if key[0] == model]
        given = np.concatenate([line["answers"] for line in mine])
        target = np.concatenate([table.target[line["rows"]] for line in mine])
        found[model] = {
            "folds": len(mine),
            "auc": float(np.mean([line["auc"] for line in mine])),
            "deviation": float(np.std([line["auc"] for line in mine])),
            "brier": brier(target, given),
            "log_loss": log_loss(target, given),
            "ece": ece(target, given),
            "ece_by_chance": float(ece_by_chance(given).mean()),
            "seconds": sum(line["seconds"] for line in mine),
        }
    return found


@click.command()
@click.option("--data", default="german-credit", show_default=True)
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(1))
@click.option(
    "--folds",
    default=5,
    show_default=True,
    type=click.IntRange(1, 5),
    help="Of each repeat, the first so many.",
)
@click.option(
    "--models",
    default="packed,lightgbm,logistic_regression,residual,periodic,transformer",
    show_default=True,
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/credit"),
    show_default=True,
    help="Where results are kept.",
)
@click.option("--json", "as_json", is_flag=True)
def main(data: str, repeats: int, folds: int, models: str, out: Path, as_json: bool) -> None:
    """Compare; the first of MODELS is the one that has to hold its own."""
    table = load_table(resolve(data), outcome_target, SilentProgress())
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{data}.jsonl"
    done = {}
    if file.exists():
        for line in map(json.loads, file.read_text().splitlines()):
            done[line["model"], line["repeat"], line["fold"]] = line
    wanted = models.split(",")
    for repeat, fold, learned, asked in runs(table, repeats):
        for model in wanted if fold < folds else ():
            if (model, repeat, fold) in done:
                continue
            started = time.monotonic()
            given = answers(model, table, learned, asked)
            line = {
                "model": model,
                "repeat": repeat,
                "fold": fold,
                "auc": auc(table.target[asked], given),
                "seconds": time.monotonic() - started,
                "rows": asked.tolist(),
                "answers": given.tolist(),
            }
            with file.open("a") as kept:
                kept.write(json.dumps(line) + "\n")
            done[model, repeat, fold] = line
            click.echo(f"{model} {repeat}.{fold}: {line['auc']:.4f}", err=True)
    chosen = {key: line for key, line in done.items() if key[0] in wanted and key[1] < repeats}
    found = table_of(chosen, table)
    if as_json:
        click.echo(json.dumps(found))
    else:
        head = "| model | folds | AUC | ± | Brier | log-loss | ECE | by chance | s |"
        click.echo(head + "\n" + "|---" * 9 + "|")
        for model, m in found.items():
            click.echo(
                f"| {model} | {m['folds']} | {m['auc']:.4f} | {m['deviation']:.4f} | "
                f"{m['brier']:.4f} | {m['log_loss']:.4f} | {m['ece']:.4f} | "
                f"{m['ece_by_chance']:.4f} | {m['seconds']:.0f} |"
            )
    mine = found[wanted[0]]["auc"]
    others = [found[name]["auc"] for name in BASELINES if name in found]
    sys.exit(mine < max([BARS.get(data, 0.0), *others]))


if __name__ == "__main__":
    main()
