"""Robot plans unfolded into the nodes of a policy graph."""

import numpy as np

from cirl.bounded._alpha_vectors import Bounds, Built, Simple
from cirl.game import Game
from cirl.policy_graph import Nodes


def unfold(game: Game, bounds: Bounds, robots: np.ndarray, roots: dict[int, int]) -> Nodes:
    """The plans below the roots; plans that are the same are one node, whatever led to them.

    Args:
        game: the game.
        bounds: the plans.
        robots: actions of the simple robots, `[n, T or 1, S, A_H]`.
        roots: the plan to start with in each state.
    """
    T, table = game.mdp.horizon, bounds.next_state
    # A built plan is named by its row; a simple robot by itself, the step and the state.
    number: dict[int | tuple[int, int, int], int] = {}
    queue: list[int | tuple[int, int, int]] = []

    def visit(key: int | tuple[int, int, int]) -> int:
        if key not in number:
            number[key] = len(queue)
            queue.append(key)
        return number[key]

    def visit_plan(row: int) -> int:
        plan = bounds.plans[row]
        return visit(row if isinstance(plan, Built) else (plan.robot, *bounds.place[row]))

    start = np.full(game.mdp.num_states, -1)
    for s, row in roots.items():
        start[s] = visit_plan(row)
    steps, states, answers, children = [], [], [], []
    for key in queue:  # grows while it is read
        if isinstance(key, int):
            plan = bounds.plans[key]
            assert isinstance(plan, Built)
            (t, s), answer = bounds.place[key], plan.answer
        else:
            plan, (robot, t, s) = Simple(key[0]), key
            answer = robots[robot, t, s]
        child = np.full((game.num_human_actions, game.mdp.next_state.shape[1]), -1)
        if T is None or t + 1 < T:
            pairs = np.arange(len(answer)), answer
            columns = bounds.columns[s][pairs]  # [A_H, E]
            for a, e in np.argwhere(bounds.possible[s][pairs]):
                if isinstance(plan, Built):
                    ahead = visit_plan(int(plan.ahead[a, e]))
                else:
                    ahead = visit((plan.robot, bounds.after(t), int(table[s, columns[a, e]])))
                child[a, columns[a, e]] = ahead
        steps.append(t)
        states.append(s)
        answers.append(answer)
        children.append(child)
    return Nodes(np.array(states), np.array(steps), np.array(answers), np.array(children), start)
