"""MDPs as graphs: networkx in and out, reachability, and where policies end up."""

from collections.abc import Hashable, Sequence

import networkx as nx
import numpy as np
from jaxtyping import Array, Bool, Float

from mdps import tables
from mdps.checks import check_flags, check_mdp, check_policy, require_concrete, shown
from mdps.mdp import MDP, from_table

__all__ = ["drop_unreachable", "from_networkx", "is_proper", "is_unichain", "reachable", "to_networkx", "walk_from"]
__dir__ = __all__.copy


def to_networkx(mdp: MDP, policy: Float[Array, " S A"] | np.ndarray | None = None) -> nx.MultiDiGraph:
    """The MDP as a directed graph with one edge per state, action and possible successor.

    Nodes are state indices with attributes `features` (`[K]`, or `[A, K]`) and `initial`; edges are
    keyed by action, with `probability`.  `graph.graph` holds `discount`, `horizon` and `feature_names`.

    Args:
        mdp: the MDP.
        policy: `[S, A]`; actions that it never takes are left out, and every edge also has `policy`,
            the probability of its action.

    Example:
        >>> import mdps
        >>> grid = mdps.GridWorld.from_text("S.G", {"S": "dirt", ".": "dirt", "G": "target"}, discount=0.9)
        >>> graph = to_networkx(grid.mdp)
        >>> graph.edges[0, 1, 1]  # from the start, action 1 (right)
        {'probability': 1.0}
    """
    _require_known("to_networkx", mdp)
    share = None if policy is None else np.asarray(check_policy(mdp, policy, stationary=True))
    initial, features = np.asarray(mdp.initial), np.asarray(mdp.features)
    graph = nx.MultiDiGraph(discount=float(mdp.discount), horizon=mdp.horizon, feature_names=mdp.feature_names)
    graph.add_nodes_from((s, {"features": features[s], "initial": float(initial[s])}) for s in range(mdp.num_states))
    next_state, probability = np.asarray(mdp.next_state), np.asarray(mdp.probability, np.float64)
    possible = probability > 0 if mdp.available is None else (probability > 0) & np.asarray(mdp.available)[:, :, None]
    origin, action, slot = np.nonzero(possible)
    if share is not None:
        taken = share[origin, action] > 0
        origin, action, slot = origin[taken], action[taken], slot[taken]
    target = next_state[origin, slot]
    for s, a, t, p in zip(
        origin.tolist(), action.tolist(), target.tolist(), probability[origin, action, slot].tolist(), strict=True
    ):
        if graph.has_edge(s, t, a):
            graph.edges[s, t, a]["probability"] += p
        else:
            graph.add_edge(s, t, a, probability=p, **({} if share is None else {"policy": float(share[s, a])}))
    return graph


def from_networkx(
    graph: nx.MultiDiGraph,
    *,
    actions: Sequence[Hashable] | None = None,
    discount: float | None = None,
    horizon: int | None = None,
    feature_names: Sequence[str] | None = None,
) -> MDP:
    """Build an MDP from a directed graph whose edges are keyed by action.

    An action of which a node has no edge is not available there.  Probabilities are those of `MDP.from_dense`:
    what misses one by at most 1e-5 is divided by its sum.

    Args:
        graph: nodes with `features` (`[K]`, or `[A, K]`) and, where runs begin, `initial`; edges with
            `probability`.  States are numbered in the order of `graph.nodes`.
        actions: the edge keys in the order of their action numbers; None: sorted if they can be,
            else as they first appear.
        discount: discount factor; None: `graph.graph["discount"]`, or 1.
        horizon: number of steps; None: `graph.graph["horizon"]`, or endless.
        feature_names: one name per feature; None: `graph.graph["feature_names"]`, or "feature 0", ...

    Raises:
        ValueError: for a graph that is no MDP, naming the node and the action.

    Example:
        >>> graph = nx.MultiDiGraph(discount=0.9)
        >>> graph.add_node("here", features=[0.0], initial=1.0)
        >>> graph.add_node("there", features=[1.0])
        >>> _ = graph.add_edge("here", "there", "go", probability=1.0)
        >>> _ = graph.add_edge("there", "there", "go", probability=1.0)
        >>> from_networkx(graph).num_states
        2
    """
    if not isinstance(graph, nx.MultiDiGraph):
        raise ValueError(f"the graph is {shown(graph)}; an MDP needs a networkx.MultiDiGraph keyed by action.")
    nodes = list(graph.nodes)
    if not nodes or not graph.number_of_edges():
        raise ValueError("the graph has no nodes or no edges; every state needs at least one action.")
    number = {node: i for i, node in enumerate(nodes)}
    keys = list(dict.fromkeys(key for _, _, key in graph.edges(keys=True)))
    if actions is None:
        try:
            actions = sorted(keys)
        except TypeError:
            actions = keys
    if isinstance(actions, str) or not isinstance(actions, Sequence) or not _are_keys(actions):
        raise ValueError(f"actions is {actions!r}; give a sequence of the edges' keys, each once.")
    unknown = [key for key in keys if key not in actions]
    if unknown:
        raise ValueError(f"edges have the action {unknown[0]!r}, which is not among the actions {list(actions)}.")
    index = {key: a for a, key in enumerate(actions)}
    for node, data in graph.nodes(data=True):
        if "features" not in data:
            raise ValueError(f"node {node!r} has no attribute 'features'; every state needs its feature counts.")
    shapes = {np.shape(data["features"]) for _, data in graph.nodes(data=True)}
    if len(shapes) != 1 or len(next(iter(shapes))) not in (1, 2):
        raise ValueError(f"the nodes' features have shapes {sorted(shapes)}; all must be [K], or all [A, K].")
    edges = []
    for s, t, key, p in graph.edges(keys=True, data="probability"):
        if p is None or not np.isfinite(p) or p < 0:
            raise ValueError(f"the edge {s!r} -> {t!r} of action {key!r} has probability {p}; it must be a number ≥ 0.")
        edges.append((number[s], index[key], number[t], p))
    origin, action, target, chance = (np.array(column) for column in zip(*edges, strict=True))
    total = np.zeros((len(nodes), len(index)))
    np.add.at(total, (origin, action), chance)
    exist = np.zeros(total.shape, bool)
    exist[origin, action] = True
    for s in np.flatnonzero(~exist.any(axis=1))[:1]:
        raise ValueError(f"no edge leaves node {nodes[s]!r}; every state needs at least one action (an end may stay).")
    for s, a in np.argwhere(exist & (np.abs(total - 1) > 1e-5))[:1]:
        raise ValueError(
            f"the edges of action {actions[a]!r} out of node {nodes[s]!r} have total probability "
            f"{total[s, a]:.6g}; it must be one."
        )
    settings = graph.graph
    next_state, probability, slots = tables.from_edges(origin, action, target, chance, total.shape)
    return from_table(
        next_state,
        probability,
        np.array([graph.nodes[node]["features"] for node in nodes], float),
        np.array([graph.nodes[node].get("initial", 0.0) for node in nodes], float),
        available=exist,
        edges=slots,
        discount=settings.get("discount", 1.0) if discount is None else discount,
        horizon=settings.get("horizon") if horizon is None else horizon,
        feature_names=settings.get("feature_names") if feature_names is None else feature_names,
    )


def _are_keys(actions: Sequence) -> bool:
    return all(isinstance(key, Hashable) for key in actions) and len(set(actions)) == len(actions)


def reachable(mdp: MDP, policy: Float[Array, " S A"] | np.ndarray | None = None) -> Bool[np.ndarray, " S"]:
    """Which states can be reached from the initial distribution, by any actions or by a policy's, in any time.

    Args:
        mdp: the MDP; its discount and horizon play no part.
        policy: `[S, A]`; None: any actions.

    Example:
        >>> import mdps
        >>> grid = mdps.GridWorld.from_text("S.G.", {"S": "dirt", ".": "dirt", "G": "target"}, discount=0.9)
        >>> reachable(grid.mdp).tolist()  # nothing leaves a goal
        [True, True, True, False]
    """
    _require_known("reachable", mdp)
    return walk_from(np.asarray(mdp.next_state), _support(mdp, policy), np.asarray(mdp.initial) > 0)


def drop_unreachable(mdp: MDP) -> MDP:
    """The MDP without the states that cannot be reached from its initial distribution.

    States keep their order: state `i` of the result is the i-th true entry of `reachable(mdp)`.

    Example:
        >>> import mdps
        >>> grid = mdps.GridWorld.from_text("S.G.", {"S": "dirt", ".": "dirt", "G": "target"}, discount=0.9)
        >>> drop_unreachable(grid.mdp).num_states
        3
    """
    keep = reachable(mdp)
    number = np.cumsum(keep) - 1
    next_state, probability = np.asarray(mdp.next_state)[keep], np.asarray(mdp.probability)[keep]
    edges = _support(mdp, None)[keep]
    sink = mdp.layout.sink
    if sink is not None and not keep[sink]:
        next_state, probability, edges, sink = next_state[:, :-1], probability[..., :-1], edges[:, :-1], None
    own = np.arange(keep.sum())[:, None]
    next_state = np.where(keep[next_state], number[next_state], own)
    return from_table(
        next_state,
        probability,
        np.asarray(mdp.features)[keep],
        np.asarray(mdp.initial)[keep],
        available=None if mdp.available is None else np.asarray(mdp.available)[keep],
        discount=float(mdp.discount),
        horizon=mdp.horizon,
        feature_names=mdp.feature_names,
        edges=edges,
        sink=None if sink is None else int(number[sink]),
    )


def is_proper(mdp: MDP, policy: Float[Array, " S A"] | np.ndarray, targets: Bool[Array, " S"] | np.ndarray) -> bool:
    """Whether a policy, from where runs begin, reaches one of `targets` sooner or later with probability one.

    A policy is proper in the sense of Bertsekas & Tsitsiklis (1991) if that is so from every state.

    Args:
        mdp: the MDP; its discount and horizon play no part.
        policy: `[S, A]`.
        targets: which states count as arrived, `[S]`; `grid.goal`, for one.

    Returns:
        True if from every state that the policy can be in before it arrives, a target can still be reached.

    Example:
        >>> import mdps, numpy as np
        >>> grid = mdps.GridWorld.from_text("S.G", {"S": "dirt", ".": "dirt", "G": "target"}, discount=0.9)
        >>> right, left = np.eye(4)[[1, 1, 1]], np.eye(4)[[3, 3, 3]]
        >>> is_proper(grid.mdp, right, grid.goal), is_proper(grid.mdp, left, grid.goal)
        (True, False)
    """
    _require_known("is_proper", mdp)
    targets = np.asarray(check_flags("targets", targets, mdp.num_states))
    edges = _support(mdp, np.asarray(check_policy(mdp, policy, stationary=True))) & ~targets[:, None]
    seen = walk_from(np.asarray(mdp.next_state), edges, np.asarray(mdp.initial) > 0)
    chain = _chain(mdp, edges)
    arrived = mdp.num_states  # one node behind all targets
    chain.add_node(arrived)
    chain.add_edges_from((int(s), arrived) for s in np.flatnonzero(targets))
    can_arrive = nx.ancestors(chain, arrived)
    return all(int(s) in can_arrive for s in np.flatnonzero(seen))


def is_unichain(mdp: MDP, policy: Float[Array, " S A"] | np.ndarray) -> bool:
    """Whether a policy's chain has exactly one class of states that reach each other and are never left.

    All states count, also those that the initial distribution cannot reach; `drop_unreachable`
    removes these.

    Args:
        mdp: the MDP.
        policy: `[S, A]`.

    Example:
        >>> import mdps, numpy as np
        >>> grid = mdps.GridWorld.from_text("S.G", {"S": "dirt", ".": "dirt", "G": "target"}, discount=0.9)
        >>> is_unichain(grid.mdp, np.eye(4)[[1, 1, 1]]), is_unichain(grid.mdp, np.eye(4)[[3, 3, 3]])
        (True, False)
    """
    _require_known("is_unichain", mdp)
    return (
        nx.number_attracting_components(
            _chain(mdp, _support(mdp, np.asarray(check_policy(mdp, policy, stationary=True))))
        )
        == 1
    )


def walk_from(next_state: np.ndarray, edges: np.ndarray, start: np.ndarray) -> np.ndarray:
    """States that a walk along `edges` from any state of `start` can be in, `[S]`, on the host.

    Args:
        next_state: successor table, `[S, D]`.
        edges: which slots are edges, `[S, D]`.
        start: which states walks begin in, `[S]`.
    """
    seen = np.array(start, bool)
    frontier = np.flatnonzero(seen)
    while frontier.size:
        ahead = np.unique(next_state[frontier][edges[frontier]])
        frontier = ahead[~seen[ahead]]
        seen[frontier] = True
    return seen


def _require_known(where: str, mdp: MDP) -> None:
    check_mdp(mdp)
    require_concrete(where, mdp=mdp.probability, initial=mdp.initial, next_state=mdp.next_state)


def _support(mdp: MDP, policy) -> np.ndarray:
    """Which successor slots have positive probability, `[S, D]`."""
    possible = np.asarray(mdp.probability) > 0
    if mdp.available is not None:
        possible = possible & np.asarray(mdp.available)[:, :, None]
    if policy is not None:
        possible = possible & (np.asarray(check_policy(mdp, policy, stationary=True)) > 0)[..., None]
    return np.any(possible, axis=1)


def _chain(mdp: MDP, edges: np.ndarray) -> nx.DiGraph:
    """The graph of the successor slots that are edges."""
    chain = nx.DiGraph()
    chain.add_nodes_from(range(mdp.num_states))
    origin, slot = np.nonzero(edges)
    chain.add_edges_from(zip(origin.tolist(), np.asarray(mdp.next_state)[origin, slot].tolist(), strict=True))
    return chain
