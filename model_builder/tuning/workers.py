"""Runs trials in several processes that share the study's file.

A worker reads its orders from the first line of its standard input and ends when that closes:
when the process that started it dies, however it dies, no worker lives on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO

import optuna

from model_builder.errors import BuilderError
from model_builder.progress import SilentProgress
from model_builder.threads import let_waiting_threads_sleep
from model_builder.tuning.errors import WorkerFailed
from model_builder.tuning.study import finished
from model_builder.tuning.trials import Job, Told, prepare, run_trials

_LOOK_EVERY_S = 0.2


def run_in_workers(job: Job, count: int, workers: int, study: optuna.Study, told: Told) -> None:
    """Share ``count`` trials out to ``workers`` processes and wait for them.

    Args:
        job: What is tuned.
        count: Trials in all.
        workers: Processes.
        study: To see which trials have ended.
        told: Takes each of them.

    Raises:
        WorkerFailed: If one ends with an error; the others are ended too.
        KeyboardInterrupt: When a person interrupts.
    """
    shares = [count // workers + (n < count % workers) for n in range(workers)]
    seen = {trial.number for trial in finished(study)}
    with _started(job, [share for share in shares if share]) as started:
        while True:
            running = any(worker.process.poll() is None for worker in started)
            for trial in finished(study):
                if trial.number not in seen:
                    seen.add(trial.number)
                    told(trial)
            for worker in started:
                if worker.process.returncode:
                    raise WorkerFailed(worker.said())
            if not running:
                return
            time.sleep(_LOOK_EVERY_S)


@dataclass(frozen=True)
class _Worker:
    process: subprocess.Popen[str]
    errors: IO[str]

    def said(self) -> str:
        self.errors.seek(0)
        return self.errors.read().strip()


@contextmanager
def _started(job: Job, shares: Sequence[int]) -> Iterator[list[_Worker]]:
    threads = max(1, (os.cpu_count() or 1) // len(shares))
    started: list[_Worker] = []
    with ExitStack() as stack:
        for number, share in enumerate(shares):
            errors = stack.enter_context(tempfile.TemporaryFile("w+"))
            process = subprocess.Popen(
                [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stderr=errors, text=True
            )
            stack.callback(process.wait)
            assert process.stdin is not None
            stack.callback(process.stdin.close)
            started.append(_Worker(process, errors))
            orders = {"job": job.model_dump(mode="json"), "count": share, "worker": number}
            process.stdin.write(json.dumps(orders | {"threads": threads}) + "\n")
            process.stdin.flush()
        yield started


def _obey() -> None:
    """Do what the first line of standard input says."""
    orders = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    let_waiting_threads_sleep()
    import torch

    torch.set_num_threads(orders["threads"])
    prepared = prepare(Job.model_validate(orders["job"]), SilentProgress())
    run_trials(prepared, orders["count"], lambda trial: None, orders["worker"])


def _end_with_the_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    try:
        _obey()
    except BuilderError as error:
        sys.stderr.write(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(0)  # the one who started it was interrupted too, and says so
