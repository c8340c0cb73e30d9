"""What the robot believes at the nodes of its policy graph: Bayes' rule on how people play there."""

import numpy as np

from cirl.host_game import HostGame
from cirl.policy_graph._values import Nodes, Values

MOST_NODES = 5_000  # nodes that are kept apart by belief, or twice as many as there were
_DIGITS = 9  # to which beliefs that are alike agree


def believed(g: HostGame, nodes: Nodes, found: Values) -> tuple[Nodes, Values, np.ndarray]:
    """The graph with the belief at each node: what follows, by Bayes' rule, from the play along the way.

    Histories that end with the same plan and the same belief share a node; after an action that nobody takes the belief
    stays what it was.  Where that makes too many nodes, histories with the same plan share one, and its belief is that
    of somebody who knows the node but not the history.

    Returns:
        The nodes, their values, and the belief at each, `[N, Θ]`.
    """
    apart = _kept_apart(g, nodes, found.play, max(MOST_NODES, 2 * len(nodes.state)))
    if apart is None:
        return nodes, found, _mixed(g, nodes, found.play)
    old, child, start, belief = apart
    graph = Nodes(nodes.state[old], nodes.step[old], nodes.decision[old], child, start)
    return graph, Values(*(x[old] for x in found)), belief


def _kept_apart(g: HostGame, nodes: Nodes, play: np.ndarray, most: int):
    """Which node each new node was, its children, the starts and beliefs; None if there would be too many."""
    number: dict[bytes, int] = {}
    olds, beliefs, children = [], [], []

    def numbered(node: np.ndarray, belief: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The number of each pair, and which of them are new."""
        key = np.ascontiguousarray(np.column_stack([node.astype(float), np.round(belief, _DIGITS) + 0.0]))
        first, inverse = np.unique(
            key.view(f"V{key.itemsize * key.shape[1]}")[:, 0], return_index=True, return_inverse=True
        )[1:]
        order = np.argsort(first)  # in the order in which they are met
        ids, new = np.empty(len(first), int), []
        for k in order:
            told = key[first[k]].tobytes()
            if told not in number:
                number[told] = len(number)
                new.append(first[k])
            ids[k] = number[told]
        return ids[inverse], np.array(new, int)

    roots, first = g.starts, np.tile(g.prior / g.prior.sum(), (len(g.starts), 1))
    ids, new = numbered(nodes.start[roots], first)
    start = np.full(len(nodes.start), -1)
    start[roots] = ids
    node, belief = nodes.start[roots][new], first[new]
    while len(node):
        olds.append(node)
        beliefs.append(belief)
        ahead = nodes.child[node]
        i, a, d = np.nonzero(ahead >= 0)
        mass = belief[i] * play[node[i], :, a]
        total = mass.sum(axis=1, keepdims=True)
        after = np.where(total > 0, mass / np.where(total > 0, total, 1), belief[i])
        child = np.full(ahead.shape, -1)
        if len(i):
            ids, new = numbered(ahead[i, a, d], after)
            child[i, a, d] = ids
            node, belief = ahead[i, a, d][new], after[new]
        else:
            node = node[:0]
        children.append(child)
        if len(number) > most:
            return None
    return np.concatenate(olds), np.concatenate(children), start, np.concatenate(beliefs)


def _mixed(g: HostGame, nodes: Nodes, play: np.ndarray) -> np.ndarray:
    """The probability of each θ given the node, over every history that leads there, `[N, Θ]`.

    In an endless game histories count by their discounted probability.  A node that no play leads to has the belief
    of the first node that leads to it.
    """
    child, N = nodes.child, len(nodes.state)
    gamma = g.gamma if g.horizon is None else 1.0
    chance = nodes.chance(g)
    n, a, d = np.nonzero((child >= 0) & (chance > 0))
    flow = gamma * chance[n, a, d][:, None] * play[n, :, a]  # [edges, Θ]
    target = child[n, a, d]
    here = np.zeros((N, g.num_thetas))
    np.add.at(here, nodes.start[g.starts], g.initial[g.starts, None] * g.prior)
    total = here.copy()
    for _ in range(g.horizon or 10_000):
        ahead = np.zeros_like(here)
        np.add.at(ahead, target, flow * here[n])
        here = ahead
        total += here
        if here.max() < 1e-12:
            break
    known = total.sum(axis=1) > 0
    total[known] /= total[known].sum(axis=1, keepdims=True)
    total[~known] = g.prior / g.prior.sum()
    for before, after in zip(n, target, strict=True):  # nodes are numbered parents first
        if not known[after]:
            total[after], known[after] = total[before], True
    return total
