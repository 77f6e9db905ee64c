"""Made-up data with something in it to learn, for a machine without data and internet.

Everything made here says so: in the data set's name, in the titles of the films and, through
``DataSource.generated``, in the manifest of every release built from it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_SEED = 20261124

_PEOPLE, _FILMS, _TASTES = 600, 400, 8
_GENRES = ("Drama", "Comedy", "Thriller", "War", "Romance", "Western", "Horror", "Musical")
_FIRST_WATCH_S = 1_600_000_000
_LOANS = 2000
_PATIENTS = 800


def write_generated(name: str, folder: Path) -> None:
    """Write the files of the generated data set ``name`` into ``folder``; always the same."""
    {
        "generated-interactions": _interactions,
        "generated-credit": _credit,
        "generated-measurements": _measurements,
    }[name](folder)


def _interactions(folder: Path) -> None:
    """Films have one genre, people love two; who has seen one film likely sees its sequel."""
    draws = np.random.default_rng(_SEED)
    genre = np.arange(_FILMS) % _TASTES
    fame = draws.gamma(1.0, 1.0, _FILMS) + 0.05
    ratings = []
    for person in range(1, _PEOPLE + 1):
        loved = draws.choice(_TASTES, 2, replace=False)
        pull = fame * np.where(np.isin(genre, loved), 12.0, 1.0)
        seen: list[int] = []
        time_s = _FIRST_WATCH_S + int(draws.integers(0, 10_000_000))
        for _ in range(int(draws.integers(12, 60))):
            now = pull.copy()
            now[seen] = 0
            if seen and (sequel := (seen[-1] + _TASTES) % _FILMS) not in seen:
                now[sequel] += 0.8 * now.sum()  # the next film of the same genre
            film = int(draws.choice(_FILMS, p=now / now.sum()))
            seen.append(film)
            time_s += int(draws.integers(3600, 400_000))
            stars = 4 + 0.5 * int(draws.integers(0, 3)) if genre[film] in loved else 3.0
            ratings.append((person, film + 1, stars, time_s))
    _write(folder / "ratings.csv", ("userId", "movieId", "rating", "timestamp"), ratings)
    films = [
        (film + 1, f"Made-up {_GENRES[genre[film]]} {film // _TASTES + 1} (2020)",
         _GENRES[genre[film]])
        for film in range(_FILMS)
    ]  # fmt: skip
    _write(folder / "movies.csv", ("movieId", "title", "genres"), films)


def _credit(folder: Path) -> None:
    """Default follows a logistic rule of income, debt, delays, housing and purpose."""
    draws = np.random.default_rng(_SEED + 1)
    n = _LOANS
    income = np.round(draws.lognormal(10.4, 0.5, n))
    amount = np.round(draws.lognormal(8.5, 0.8, n))
    months = draws.choice([6, 12, 24, 36, 48, 60], n)
    age = draws.integers(19, 76, n)
    delays = draws.poisson(0.6, n)
    housing = draws.choice(["own", "rent", "free"], n, p=[0.55, 0.35, 0.10])
    purpose = draws.choice(["car", "furniture", "education", "business"], n)
    logit = (
        -2.3
        + 1.1 * np.log(amount / income * 4)
        + 0.7 * delays
        + 0.015 * (months - 24)
        - 0.012 * (age - 40)
        + np.where(housing == "rent", 0.5, 0.0)
        + np.where(purpose == "business", 0.6, 0.0)
    )
    default = (draws.random(n) < 1 / (1 + np.exp(-logit))).astype(int)
    columns = {
        "income": _with_gaps(income, draws, 0.08),
        "amount": amount,
        "months": months,
        "age_years": age,
        "late_payments": _with_gaps(delays, draws, 0.04),
        "housing": _with_gaps(housing, draws, 0.03),
        "purpose": purpose,
        "default": default,
    }
    _write_columns(folder / "loans.csv", columns)


def _measurements(folder: Path) -> None:
    """Two correlated groups of values shift with the illness; two values say nothing."""
    draws = np.random.default_rng(_SEED + 2)
    n = _PATIENTS
    ill = (draws.random(n) < 0.4).astype(int)
    shift = 1.2 * ill + draws.normal(0, 0.7, n)
    columns: dict[str, Sequence[Any]] = {
        "glucose_mg_dl": np.round(95 + 14 * shift + draws.normal(0, 8, n), 1),
        "crp_mg_l": np.round(np.exp(0.6 + 0.7 * shift + draws.normal(0, 0.4, n)), 2),
        "systolic_mmhg": np.round(121 + 9 * shift + draws.normal(0, 9, n)),
        "haemoglobin_g_dl": np.round(14.2 - 0.8 * shift + draws.normal(0, 0.9, n), 1),
        "sodium_mmol_l": np.round(draws.normal(140, 2.5, n)),
        "height_cm": np.round(draws.normal(171, 9, n)),
    }
    for name in ("crp_mg_l", "haemoglobin_g_dl"):
        columns[name] = _with_gaps(np.asarray(columns[name]), draws, 0.07)
    columns["condition"] = np.where(ill == 1, "ill", "healthy")
    _write_columns(folder / "measurements.csv", columns)


def _with_gaps(values: Any, draws: np.random.Generator, share: float) -> list[Any]:
    gaps = draws.random(len(values)) < share
    return ["" if gap else value for gap, value in zip(gaps, values.tolist(), strict=True)]


def _write_columns(path: Path, columns: dict[str, Sequence[Any]]) -> None:
    _write(path, tuple(columns), zip(*columns.values(), strict=True))


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
