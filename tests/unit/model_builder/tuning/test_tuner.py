from __future__ import annotations

import re
import time
from contextlib import contextmanager

import optuna
import pytest
from optuna.trial import TrialState

from model_builder.config import read_config
from model_builder.discovery import Tasks
from model_builder.errors import ConfigInvalid
from model_builder.progress import SilentProgress
from model_builder.tuning.errors import CannotTune, StudyBusy, StudyDiffers
from model_builder.tuning.study import lock, open_study
from model_builder.tuning.tuner import tune


class Noted(SilentProgress):
    """Remembers how far the stages came and what the bars said."""

    def __init__(self):
        self.stages = {}
        self.notes = []

    @contextmanager
    def stage(self, name, total=None):
        record = self.stages[name] = [0, total]
        notes = self.notes

        class Stage:
            def advance(self, steps=1, note=""):
                record[0] += steps
                notes.append(note)

        yield Stage()


def trials(outcome):
    return [(trial.number, trial.state.name, trial.value) for trial in outcome.trials]


@pytest.fixture(scope="module")
def outcome(make_job, tmp_path_factory):
    """Of fourteen trials; not to be changed."""
    progress = Noted()
    job = make_job(tmp_path_factory.mktemp("study"), trials=14)
    found = tune(job, 1, progress)
    assert progress.stages["trials"] == [14, 14]
    assert re.fullmatch(r"best \d\.\d{4} by trial \d+, start 0\.1324", progress.notes[-1])
    return found


def test_tuning_finds_something_better_and_says_how_much(outcome):
    assert outcome.metric == "closeness"
    assert outcome.defaults == pytest.approx(1 - 0.2276 - 0.64, abs=0.001)  # 0.1 in 15 epochs
    assert outcome.value > outcome.defaults + 0.2
    assert len(outcome.trials) == 14


def test_the_first_trial_is_what_it_starts_from(outcome):
    assert outcome.trials[0].params == {"learning_rate": 0.1, "epochs": 15}
    assert outcome.trials[0].value == outcome.defaults


def test_trials_that_lag_behind_are_stopped(outcome):
    stopped = [trial for trial in outcome.trials if trial.state is TrialState.PRUNED]
    assert stopped
    assert all(len(trial.intermediate_values) <= trial.params["epochs"] for trial in stopped)
    assert all(len(trial.intermediate_values) >= 8 for trial in stopped)


def test_no_trial_is_stopped_if_none_shall_be(job, progress):
    outcome = tune(job(pruner="none"), 1, progress)
    assert {trial.state for trial in outcome.trials} == {TrialState.COMPLETE}


def test_build_takes_the_best_config(outcome, toy_tasks):
    config_type = Tasks(toy_tasks).load("toy").config_type
    config = read_config(config_type, outcome.folder / "best.yaml")
    assert config.learning_rate == outcome.best.params["learning_rate"]
    assert config.epochs == outcome.best.params["epochs"]
    text = (outcome.folder / "best.yaml").read_text()
    assert text.startswith(f"# toy on generated-credit: closeness {outcome.value:.4f} (trial ")


def test_what_it_starts_from_is_kept_where_nothing_is_better(job, progress):
    best = ("learning_rate=0.3", "epochs=7", "tolerance=0.5")
    outcome = tune(job(trials=2, settings=best), 1, progress)
    assert (outcome.best, outcome.value) == (None, 1.0)
    text = (outcome.folder / "best.yaml").read_text()
    assert "no trial was better" in text
    assert text.endswith("epochs: 7\nlearning_rate: 0.3\ntolerance: 0.5\n")
    assert outcome.as_json()["best_trial"] is None


def test_the_report_is_one_file_with_every_plot_and_no_address_to_load_from(outcome):
    page = (outcome.folder / "report.html").read_text()
    assert page.count("Plotly.newPlot(") == 4
    assert page.count("plotly.js v") == 1  # it is brought along, once
    assert "Optimization History" in page
    assert "Hyperparameter Importances" in page
    assert not re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="http', page)


def test_json_says_everything_of_every_trial(outcome):
    found = outcome.as_json()
    assert found["best"] == outcome.value
    assert found["params"] == outcome.best.params
    assert found["importance"].keys() == {"learning_rate", "epochs"}
    assert sum(found["importance"].values()) == pytest.approx(1)
    assert len(found["trials"]) == 14
    for trial in found["trials"]:
        assert (trial["value"] is None) == (trial["state"] == "pruned")
        assert trial["seconds"] >= 0


def test_the_same_command_goes_on_where_the_study_stopped(job, progress):
    first = tune(job(trials=5), 1, progress)
    second = tune(job(trials=8), 1, progress)
    assert trials(second)[:5] == trials(first)
    assert len(second.trials) == 8
    drawn = [tuple(trial.params.values()) for trial in second.trials]
    assert len(set(drawn)) == 8  # the sampler does not start anew
    assert trials(tune(job(trials=8), 1, progress)) == trials(second)


def test_a_trial_that_a_dead_process_left_is_run_again(job, progress):
    first = tune(job(trials=3), 1, progress)
    study = open_study(first.folder)
    cut_off = study.ask({"epochs": optuna.distributions.IntDistribution(1, 20)})  # here it died

    second = tune(job(trials=5), 1, progress)

    assert "1 trials were cut off and are run again." in progress.said
    assert len(second.trials) == 5
    states = {trial.number: trial.state for trial in open_study(first.folder).trials}
    assert states[cut_off.number] is TrialState.FAIL
    again = [t for t in second.trials if t.user_attrs.get("instead_of") == cut_off.number]
    assert [trial.params["epochs"] for trial in again] == [cut_off.params["epochs"]]


@pytest.fixture(scope="module")
def small(make_job, tmp_path_factory):
    """A study of one trial."""
    folder = tmp_path_factory.mktemp("small")
    tune(make_job(folder, trials=1), 1, SilentProgress())
    return folder


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"settings": ("shift=0.5",)}, "configuration"),
        ({"data": "generated-measurements"}, "data"),
        ({"label": "months"}, "label"),
    ],
)
def test_a_study_of_something_else_is_refused(job, progress, small, changes, named):
    with pytest.raises(StudyDiffers, match=rf"another {named}.* --out") as caught:
        tune(job(folder=small, **changes), 1, progress)
    assert named in caught.value.differences


def test_a_space_of_ones_own_is_another_study(job, progress, small, tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("epochs: null\n")
    with pytest.raises(StudyDiffers, match="another search space"):
        tune(job(space_file=file, folder=small), 1, progress)
    outcome = tune(job(space_file=file, folder=tmp_path / "other", trials=2), 1, progress)
    assert outcome.trials[1].params.keys() == {"learning_rate"}


def test_two_processes_do_not_tune_in_one_folder(job, progress):
    with lock(job().folder), pytest.raises(StudyBusy, match="another process is tuning"):
        tune(job(), 1, progress)


def test_an_interrupt_keeps_the_study(job, progress):
    class Interrupting(SilentProgress):
        def stage(self, name, total=None):
            if name != "trials":
                return super().stage(name, total)
            raise KeyboardInterrupt

    done = tune(job(trials=1), 1, progress)
    outcome = tune(job(trials=9), 1, Interrupting())
    assert outcome.interrupted
    assert trials(outcome) == trials(done)
    assert (outcome.folder / "best.yaml").is_file()


def test_no_trial_starts_after_the_deadline(job, progress):
    outcome = tune(job(deadline=time.time() - 1), 1, progress)
    assert outcome.trials == ()
    assert outcome.value == outcome.defaults


def test_a_training_that_diverges_is_a_bad_trial_and_not_the_end(job, progress, tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("shift: {choices: [0.0, 1.0]}\n")
    outcome = tune(job(space_file=file, pruner="none", trials=6), 1, progress)
    diverged = [trial for trial in outcome.trials if trial.params["shift"]]
    assert diverged
    assert {trial.state for trial in diverged} == {TrialState.PRUNED}
    assert {trial.state for trial in outcome.trials} == {TrialState.PRUNED, TrialState.COMPLETE}


def test_a_space_that_cannot_be_is_refused_before_any_work(job, progress, tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("momentum: {low: 0, high: 1}\n")
    with pytest.raises(ConfigInvalid, match="momentum: there is no such hyperparameter"):
        tune(job(space_file=file), 1, progress)
    assert not (job().folder / "study.db").exists()


def test_a_task_without_a_space_cannot_be_tuned(tmp_path, monkeypatch):
    (tmp_path / "plain/sums").mkdir(parents=True)
    for folder in ("plain", "plain/sums"):
        (tmp_path / folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    for ask in (Tasks("plain").tuning, Tasks("plain").search_space):
        with pytest.raises(CannotTune, match="task 'sums' cannot be tuned"):
            ask("sums")
