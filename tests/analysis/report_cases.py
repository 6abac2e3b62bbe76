"""Made-up studies with known truth, for the tests of sentences, forecasts, figures and reports."""

from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.edges import find_edges, find_median_edges
from analysis.summaries import Check, GroupFit, GroupKey, LawFit, NaiveSlope, Outcome

BATCH_SIZES = 2 ** np.arange(10)
RATES = 1e-3 * 2 ** (np.arange(28) / 2)
NUM_STEPS = 300

# Exponent, plateau and critical batch size, close to what the digits show (method.md).
TRUTHS = {"sgd": (0.85, 3.0, 30.0), "adam": (0.5, 0.3, 100.0)}


def true_lr_max(optimizer: str, batch_size: np.ndarray) -> np.ndarray:
    """Evaluate the saturating law that the trials are drawn from."""
    p, plateau, critical = TRUTHS[optimizer]
    return plateau / (1 + (critical / batch_size) ** p)


def simulate_trials(
    optimizer: str = "sgd",
    seed: int = 0,
    num_seeds: int = 6,
    batch_sizes: np.ndarray = BATCH_SIZES,
    rates: np.ndarray = RATES,
) -> pd.DataFrame:
    """Draw one log-normal edge per seed and batch size (sigma 0.15) and judge a grid by it."""
    rng = np.random.default_rng(seed)
    table = pd.MultiIndex.from_product(
        [batch_sizes, range(num_seeds), rates], names=["batch_size", "seed", "lr"]
    ).to_frame(index=False)
    noise = np.repeat(rng.normal(0, 0.15, len(batch_sizes) * num_seeds), len(rates))
    edge = true_lr_max(optimizer, table["batch_size"].to_numpy()) * np.exp(noise)
    stable = (table["lr"] < edge).to_numpy()
    nonfinite = ~stable & (table["lr"] > 4 * edge).to_numpy()
    final = np.where(stable, rng.uniform(0.01, 0.8, len(table)), rng.uniform(2.0, 9.0, len(table)))
    return table.assign(
        trial_id=[f"{optimizer}-{row:05d}" for row in range(len(table))],
        pack_id=optimizer,
        task="digits_mlp",
        method="plain",
        optimizer=optimizer,
        start="init",
        horizon=f"{NUM_STEPS} steps",
        num_steps=NUM_STEPS,
        steps_run=np.where(nonfinite, 20, NUM_STEPS),
        sampling="replacement",
        num_examples=1797,
        verdict=np.where(stable, "stable", "diverged"),
        reason="",
        initial_loss=2.3,
        start_loss=2.3,
        final_loss=np.where(nonfinite, np.nan, final),
        min_loss=np.where(stable, 0.01, 1.5),
        peak_loss=np.where(stable, 2.5, 12.0),
        first_nonfinite_step=pd.array(np.where(nonfinite, 20.0, np.nan), dtype="Int64"),
        wall_time_s=1.0,
        device="cpu",
    )


def simulate_curves(trials: pd.DataFrame, seed: int = 0, num_points: int = 60) -> pd.DataFrame:
    """Draw a falling loss for every stable trial, a stalling or exploding one for the others."""
    rng = np.random.default_rng(seed)
    step = np.unique(np.geomspace(1, NUM_STEPS, num_points).astype(np.int32))
    rows = []
    for trial in trials[trials["verdict"] != "failed"].itertuples():
        noise = np.exp(0.1 * rng.normal(size=step.size))
        if trial.verdict == "stable":
            loss = 2.3 * (0.01 + 0.99 * np.exp(-step / 60)) * noise
        elif rng.random() < 0.5:
            loss = 2.3 * np.exp(step / 25) * noise
        else:
            loss = 2.3 * (1 + 2 * np.exp(-(((step - 40) / 20) ** 2))) * noise
        rows.append((trial.trial_id, step, loss.astype(np.float32)))
    return pd.DataFrame(rows, columns=["trial_id", "step", "loss"])


def make_law(name: str = "saturating", optimizer: str = "sgd", kept: bool = True) -> LawFit:
    """Write the truth down as if a fit had found it."""
    p, plateau, critical = TRUTHS[optimizer]
    parameters = {
        "power": {"c": plateau / critical**p, "p": p},
        "saturating": {"eta_inf": plateau, "b_star": critical, "p": p},
        "surge": {"eta_peak": plateau / 2, "b_star": critical, "p": p, "q": p},
    }[name]
    log_c, bend = np.log(plateau / critical**p), np.log(critical)
    theta = {
        "power": [p, log_c],
        "saturating": [p, log_c, bend],
        "surge": [p, log_c, bend, p],
    }[name]
    return LawFit(
        name=name,
        parameters=parameters,
        exponent=p,
        exponent_ci=(p - 0.06, p + 0.06),
        exponent_ci90=(p - 0.05, p + 0.05),
        log_likelihood=-40.0,
        aicc={"saturating": 87.0, "surge": 89.0, "power": 190.0}[name],
        sigma=0.15,
        lack_of_fit_p=0.4,
        kept=kept,
        num_units=60,
        num_seeds=6,
        num_places=10,
        theta=np.array(theta),
        covariance=np.diag([0.0, 0.03**2, 0.0, 0.0][: len(theta)]),
    )


def make_group(trials: pd.DataFrame, law: str = "saturating", **changes: object) -> GroupFit:
    """Bracket the edges of simulated trials and add the true law; ``changes`` replace fields."""
    first = trials.iloc[0]
    optimizer = first["optimizer"]
    edges = find_edges(trials[trials["verdict"] != "failed"])
    best = make_law(law, optimizer)
    group = GroupFit(
        key=GroupKey(first["task"], first["method"], optimizer, first["start"], first["horizon"]),
        num_trials=len(trials),
        num_failed=int((trials["verdict"] == "failed").sum()),
        seed_edges=edges,
        edges=find_median_edges(edges),
        laws=(best,),
        law=law,
        exponent=best.exponent,
        exponent_ci=best.exponent_ci,
        naive_slope=NaiveSlope(0.55, (0.53, 0.57)),
        check=Check(1.0, 0.1, Outcome.REFUTED, "the 95 % interval excludes 1"),
    )
    return replace(group, **changes)


def refuse(group: GroupFit, reason: str = "only 2 batch sizes have a finite bracket") -> GroupFit:
    """Take the laws away, as a fit that refuses does."""
    return replace(
        group,
        laws=(),
        law=None,
        exponent=None,
        exponent_ci=None,
        naive_slope=None,
        check=Check(1.0, 0.1, None, "no law was fitted"),
        refused=reason,
    )
