"""Trusting a written reward near a reference, beside trusting it where evidence could speak: who does what, where.

Two ideas of caution on the same maps. The correlated plan is told what nobody knows, how far written and meant reward
agree under a policy that acts at random, and is then the best against every reward that agrees so far. The plan of
least exposure is told nothing, but has looked at the map on which the reward was written. Some minutes on two cores:

    python -m examples.studies.correlated --out docs/studies
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console

import mdps
from examples import _report, _style
from ird import ProxyReward, alignment, planning, posterior
from mdps import MDP
from mdps.policies import uniform_policy
from mdps.worlds import Case, families, safety

DISCOUNT = 0.97  # rewards that correlate are compared without a horizon
PLANS = ("literal", "correlated", "least exposure", "oracle")
KEPT = 0.1  # of what the reference on tomato does at random


class Met(NamedTuple):
    """What the plans do on one map.

    Attributes:
        r: correlation of written and meant reward under the uniform policy.
        followed: the correlated plan's gain of written return, as a share of the literal plan's.
        rows: by plan, probability of the hazard and of the goal, and regret; of a world without them regret alone.
    """

    r: float
    followed: float
    rows: dict[str, list[float]]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.studies.correlated",
        description="A plan that is sure against every reward of a correlation, beside the plan of least exposure, on "
        "families of maps by others and on tomato watering.",
    )
    parser.add_argument("--families", nargs="*", default=list(families()), help="which families (default all)")
    parser.add_argument("--samples", type=int, default=1000, help="samples of the belief (default %(default)s)")
    parser.add_argument("--points", type=int, default=40, help="plans along each curve of tomato (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/correlated"), help="folder (default %(default)s)")
    return parser.parse_args(arguments)


def endless(mdp: MDP) -> MDP:
    """The map without a horizon."""
    return mdp.replace(horizon=None, discount=DISCOUNT)


def plans_of(field: MDP, train: MDP, written, meant, widths, samples: int, key: Any) -> tuple[dict[str, Any], Met]:
    """Policies by name, and how the rewards correlate."""
    prior = dist.Uniform(-widths, widths).to_event(1)
    for_rewards, for_belief = jax.random.split(key)
    rewards = jnp.concatenate([written[None], prior.sample(for_rewards, (300,))])
    proxy = ProxyReward(written, train, beta=5.0, alternatives=rewards)
    belief = posterior.importance(proxy, prior=prior, num_samples=samples, key=for_belief)
    pair = alignment.correlation(field, None, written, meant)
    r = float(pair.r)
    found = {name: mdps.solve(field, field.reward(w)).policy for name, w in (("literal", written), ("oracle", meant))}
    found["least exposure"] = planning.plan_least_exposure(field, belief).policy
    if r > 0:
        near = planning.plan_correlated(field, written, correlation=min(r, 1 - 1e-6))
        found["correlated"], gain = near.policy, float(near.gain)
    else:  # nothing is guaranteed: it stays where it is
        found["correlated"], gain = uniform_policy(field), 0.0
    paid = field.reward(written)
    most = float(
        mdps.policy_return(field, found["literal"], paid) - mdps.policy_return(field, uniform_policy(field), paid)
    )
    return found, Met(r, gain / most if most > 0 else 0.0, {})


def judged(case: Case, policy: Any) -> list[float]:
    """Hazard, goal and regret on the map with its horizon, as `make worlds` judges."""
    mdp = case.field.mdp
    reward = mdp.reward(case.meant)
    best = float(mdps.solve(mdp, reward).value @ mdp.initial)
    random = float(mdps.policy_return(mdp, uniform_policy(mdp), reward))
    whole = policy if mdp.horizon is None else jnp.broadcast_to(policy, (mdp.horizon, *policy.shape))
    lost = (best - float(mdps.policy_return(mdp, whole, reward))) / (best - random) if best > random else 0.0
    met = [float(mdps.visit_probability(mdp, whole, x)) for x in (case.entered, case.field.goal)]
    return [*met, lost]


def tried(case: Case, samples: int, key: Any) -> Met:
    """All plans on the first map of a family."""
    field, train = endless(case.field.mdp), endless(case.train.mdp)
    found, met = plans_of(field, train, case.written, case.meant, case.widths, samples, key)
    jax.clear_caches()
    return met._replace(rows={name: judged(case, found[name]) for name in PLANS})


def tomato(samples: int, points: int, key: Any) -> tuple[Met, dict[str, Any]]:
    """The plans on tomato, and two ways to stay near somebody who waters: χ² of visits, and KL of actions."""
    world, dry = safety.tomatoes(), safety.tomatoes(bucket=False)
    field, written, meant = endless(world.mdp), jnp.asarray(world.written), jnp.asarray(world.hidden)
    widths = jnp.full(written.shape, 2 * jnp.max(jnp.abs(written)))
    found, met = plans_of(field, endless(dry.mdp), written, meant, widths, samples, key)
    true, best, random = field.reward(meant), found["oracle"], uniform_policy(field)
    ends = [float(mdps.policy_return(field, policy, true)) for policy in (best, random)]
    scored = lambda policy: float(mdps.policy_return(field, policy, true))  # noqa: E731
    met = met._replace(rows={name: [(ends[0] - scored(found[name])) / (ends[0] - ends[1])] for name in PLANS})

    reference = (1 - KEPT) * best + KEPT * random
    both = lambda policy: [float(mdps.policy_return(field, policy, field.reward(w))) for w in (written, meant)]  # noqa: E731
    threshold = float(planning.plan_correlated(field, written, reference=reference, penalty=1e6).threshold)
    made = [
        planning.plan_correlated(field, written, reference=reference, penalty=share * threshold)
        for share in np.geomspace(1e-3, 0.999, points)
    ]
    # Where χ² is in the hundred thousands some certificates do not close: these plans are left out, and counted.
    by_visits = [both(plan.policy) for plan in made if plan.converged]
    paid = field.reward(written)
    paid, log_reference = paid if paid.ndim == 2 else paid[:, None], jnp.log(reference)
    near = jax.vmap(lambda t: mdps.solve(field, paid + t * log_reference, temperature=t).policy)
    by_actions = [both(policy) for policy in near(jnp.geomspace(1e-3, 1.0, 8 * points))]
    curves = {"chi squared": by_visits, "KL of actions": by_actions, "reference": both(reference)}
    curves["left out"] = len(made) - len(by_visits)
    return met, curves | {"literal": both(found["literal"]), "best": both(best)}


def above(curves: dict[str, Any]) -> tuple[float, float, float]:
    """At equal written return: in which share the true return is higher near in visits; the largest gain and loss."""
    visits, actions = (np.array(sorted(curves[name])) for name in ("chi squared", "KL of actions"))
    low, high = max(visits[0, 0], actions[0, 0]), min(visits[-1, 0], actions[-1, 0])
    at = np.linspace(low, high, 200)
    apart = np.interp(at, *visits.T) - np.interp(at, *actions.T)
    return float(np.mean(apart > -1e-6)), float(apart.max()), float(apart.min())


@_style.drawing
def picture(curves: dict[str, Any]) -> Figure:
    """True against written return on tomato, as each plan leaves the reference."""
    figure, axis = plt.subplots(figsize=(_style.WIDTH * 0.62, 4.2), layout="constrained")
    for name, colour in (("chi squared", _style.BLUE), ("KL of actions", _style.ORANGE)):
        axis.plot(*np.array(sorted(curves[name])).T, ".-", color=colour, label=f"near in {name}", markersize=4)
    places = {"reference": (_style.GREEN, (-14, -18)), "literal": ("black", (6, 8)), "best": ("black", (8, 4))}
    for name, (colour, place) in places.items():
        axis.plot(*curves[name], "*", color=colour, markersize=12)
        axis.annotate(name, curves[name], textcoords="offset points", xytext=place)
    axis.set(xlabel="written return: what looks watered", ylabel="true return: what is watered")
    axis.margins(0.12)
    axis.legend(loc="lower left")
    return figure


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, save; returns the manifest."""
    began, options, console = time.perf_counter(), parse(arguments), Console()
    rows: dict[str, Met] = {}
    keys = dict(zip(families(), jax.random.split(jax.random.key(options.seed), len(families())), strict=True))
    with _report.progress(console) as bar:
        job = bar.add_task("maps", total=len(options.families) + 1)
        for name in options.families:
            rows[name] = tried(families()[name][0], options.samples, keys[name])
            bar.advance(job)
        rows["mini tomato"], curves = tomato(options.samples, options.points, jax.random.key(options.seed))
        bar.advance(job)
    text = page(rows, curves, options)
    console.print(conclusion(rows, curves))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "correlated.md").write_text(text, encoding="utf-8")
    drawn = _style.save(picture(curves), options.out / "correlated.png")
    found = {"maps": {name: met._asdict() for name, met in rows.items()}, "tomato": curves}
    settings = {"samples": options.samples, "points": options.points, "families": options.families}
    manifest = _report.save(options.out, began, settings, options.seed, found, pictures=[drawn], file="correlated.json")
    console.print(_report.told(manifest, options.out, "correlated.json"))
    return manifest


def conclusion(rows: dict[str, Met], curves: dict[str, Any]) -> str:
    """What came out, in words."""
    fine = {
        name: [x for x, met in rows.items() if met.rows[name][-1] <= met.rows["oracle"][-1] + 0.02]
        for name in PLANS[:3]
    }
    share, most, least = above(curves)
    nothing = [name for name, met in rows.items() if met.r <= 0]
    return (
        f"Within .02 of the best regret: the literal plan on {len(fine['literal'])} of {len(rows)} maps, the plan "
        f"that is sure against every reward of the true correlation on {len(fine['correlated'])}, the plan of least "
        f"exposure on {len(fine['least exposure'])}. Written and meant reward do not correlate under a random policy "
        f"on {len(nothing)}, where nothing is guaranteed and that plan acts at random.\n"
        f"On tomato, staying near in visits is truer than staying near in actions at {100 * share:.0f}% of written "
        f"returns (true return {most:+.2f} at best, {least:+.2f} at worst; {curves['left out']} plans without a "
        "closed certificate left out)."
    )


def page(rows: dict[str, Met], curves: dict[str, Any], options: argparse.Namespace) -> str:
    """The table as a page of the documentation."""
    cell = lambda x: " ".join(f"{v + 0.0:.2f}" for v in np.round(x, 2))  # noqa: E731
    lines = [
        "# Near a reference, or near the evidence",
        "",
        f"Made by `python -m examples.studies.correlated --seed {options.seed}`; planned without a horizon at a",
        f"discount of {DISCOUNT}, judged with it. Each cell: probability of entering the hazard, of reaching the goal,",
        "and regret (0 is the best policy, 1 one that acts at random); of tomato regret alone. First map of each",
        "family. *r* is the correlation of written and meant reward, made canonical, under the uniform policy, and",
        "*followed* the share of the written gain that the correlated plan takes.",
        "[What these plans are](../alignment.md).",
        "",
        conclusion(rows, curves),
        "",
        f"| family | r | followed | {' | '.join(PLANS)} |",
        f"|---|---:|---:|{'---:|' * len(PLANS)}",
    ]
    for name, met in rows.items():
        cells = " | ".join(cell(met.rows[plan]) for plan in PLANS)
        lines.append(f"| {name} | {met.r:.2f} | {met.followed:.2f} | {cells} |")
    drawing = "![True return against written return on tomato, as plans leave a reference that waters](correlated.png)"
    return "\n".join([*lines, "", drawing, ""])


if __name__ == "__main__":
    main()
