"""Planners by others for the POMDP that a game reduces to: pomdp-toolkit (point-based) and pomdp-py (sampling)."""

import contextlib
import io
import time

import numpy as np

from cirl.pomdp import Pomdp


def point_based(p: Pomdp, exact: float, *, within: float, most: int = 12):
    """PBVI of pomdp-toolkit with as few expansions as reach the value: (seconds, value, expansions).

    It has no upper bound, so it can't know when to stop; it is stopped when it is there.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of CuPy on import
        from pomdp_toolkit import POMDP
        from pomdp_toolkit.solvers import PBVI_SSEA
    A, X, O = p.observation.shape
    model = POMDP(
        X,
        A,
        O,
        observation_table=np.swapaxes(p.observation, 0, 1),
        transition_table=np.swapaxes(p.transition, 0, 1),
        reward_table=np.broadcast_to(p.reward.T[:, :, None, None], (X, A, X, O)),
        start_probabilities=p.start,
    )
    for expansions in range(1, most + 1):
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            found, _ = PBVI_SSEA.solve(
                model, expansions=expansions, gamma=p.discount, print_progress=False, print_stats=False, rng=0
            )
        seconds = time.perf_counter() - began
        value = float((np.asarray(found.alpha_vector_array) @ p.start).max())
        if abs(value - exact) <= within:
            break
    return seconds, value, expansions


class _Tables:
    """A POMDP's tables as the four models that pomdp-py asks for."""

    def __init__(self, p: Pomdp):
        import pomdp_py

        class State(pomdp_py.SimpleState):
            def __init__(self, number):
                super().__init__(str(number))
                self.number = number

        class Action(pomdp_py.SimpleAction):
            def __init__(self, number):
                super().__init__(str(number))
                self.number = number

        class Observation(pomdp_py.SimpleObservation):
            def __init__(self, number):
                super().__init__(str(number))
                self.number = number

        A, X, O = p.observation.shape
        states = [State(i) for i in range(X)]
        actions = [Action(i) for i in range(A)]
        observations = [Observation(i) for i in range(O)]
        # Lists of what can happen, with running sums: sampling costs a search, not a row.
        moves = [[_sparse(p.transition[a, x]) for x in range(X)] for a in range(A)]
        sights = [[_sparse(p.observation[a, x]) for x in range(X)] for a in range(A)]
        rng = np.random.default_rng(0)
        draw = lambda row: row[0][int(np.searchsorted(row[1], rng.random() * row[1][-1]))]  # noqa: E731

        class Transition(pomdp_py.TransitionModel):
            def probability(self, next_state, state, action):
                return p.transition[action.number, state.number, next_state.number]

            def sample(self, state, action):
                return states[draw(moves[action.number][state.number])]

            def get_all_states(self):
                return states

        class Sight(pomdp_py.ObservationModel):
            def probability(self, observation, next_state, action):
                return p.observation[action.number, next_state.number, observation.number]

            def sample(self, next_state, action):
                return observations[draw(sights[action.number][next_state.number])]

            def get_all_observations(self):
                return observations

        class Reward(pomdp_py.RewardModel):
            def sample(self, state, action, next_state):
                return p.reward[action.number, state.number]

        class Policy(pomdp_py.RolloutPolicy):
            def sample(self, state):
                return actions[int(rng.integers(A))]

            def rollout(self, state, history=None):
                return self.sample(state)

            def get_all_actions(self, state=None, history=None):
                return actions

        self.states, self.actions, self.observations = states, actions, observations
        self.transition, self.sight, self.reward, self.policy = Transition(), Sight(), Reward(), Policy()


def _sparse(row):
    held = np.flatnonzero(row)
    return held.tolist(), np.cumsum(row[held])


def enumerated(p: Pomdp, steps: int):
    """pomdp-py's exact recursion over beliefs: (seconds, value)."""
    from pomdp_py.algorithms.value_function import value

    m = _Tables(p)
    began = time.perf_counter()
    found = value(
        {s: p.start[s.number] for s in m.states},
        m.states,
        m.actions,
        m.observations,
        m.transition,
        m.sight,
        m.reward,
        p.discount,
        horizon=steps,
    )
    return time.perf_counter() - began, float(found)


def sampled(p: Pomdp, *, num_simulations: int, depth: int, exploration: float):
    """One search of pomdp-py's POUCT at the start: (seconds, mean return of the most tried action)."""
    import pomdp_py

    m = _Tables(p)
    start = pomdp_py.Histogram({s: float(p.start[s.number]) for s in m.states if p.start[s.number] > 0})
    agent = pomdp_py.Agent(start, m.policy, m.transition, m.sight, m.reward)
    planner = pomdp_py.POUCT(
        max_depth=depth,
        discount_factor=p.discount,
        num_sims=num_simulations,
        exploration_const=exploration,
        rollout_policy=m.policy,
    )
    began = time.perf_counter()
    planner.plan(agent)
    seconds = time.perf_counter() - began
    tried = [agent.tree[a] for a in m.actions if agent.tree[a] is not None]
    return seconds, float(max(tried, key=lambda node: node.num_visits).value)
