from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from model_builder.tuning.study import open_study

WORKERS = 4
QUEUED = 24


def test_workers_never_take_the_same_trial_out_of_the_queue(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    for number in range(QUEUED):
        study.enqueue_trial({"x": number / QUEUED})
    together = Barrier(WORKERS)

    def take(worker: int) -> list[int]:
        own = open_study(tmp_path, worker=worker)
        together.wait(60)
        return [own.ask().number for _ in range(QUEUED // WORKERS)]

    with ThreadPoolExecutor(WORKERS) as pool:
        taken = [number for numbers in pool.map(take, range(WORKERS)) for number in numbers]
    assert sorted(taken) == list(range(QUEUED))
