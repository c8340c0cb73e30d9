"""Cassandra's format, read: every form against NumPy, published problems by their values, mistakes by their lines."""

import numpy as np
import pytest

import mdps
from cirl.pomdp import read

A2 = """\
discount: 0.95
values: reward
states: 2
actions: 2
observations: 2
start: 0.5 0.5
T: 0 : 0 : 0 0.3
T: 0 : 0 : 1 0.7
T: 0 : 1 : 1 1.0
T: 1 : 0 : 0 1.0
T: 1 : 1 : 0 1.0
O: 0 : 0 : 0 1.0
O: 0 : 1 : 0 1.0
O: 1 : 0 : 0 0.25
O: 1 : 0 : 1 0.75
O: 1 : 1 : 0 1.0
R: 0 : 0 : 0 : * 10
R: 0 : 0 : 1 : * 0
R: 1 : 1 : 0 : 0 4
R: 1 : 1 : 0 : 1 8
"""
MDP = "discount: 0.9\nvalues: reward\nstates: 3\nactions: 1\nT: 0 identity\n"


@pytest.fixture
def reading(tmp_path):
    """Read a text, or bytes, as a file."""

    def of(text, **kwargs):
        path = tmp_path / "some.pomdp"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read(path, **kwargs)

    return of


def full_information_value(p):
    """The value of the POMDP's states when they are seen, in float64: an upper bound of the POMDP's."""
    features = p.reward.T[:, :, None]
    mdp = mdps.MDP.from_dense(np.swapaxes(p.transition, 0, 1), features, p.start, discount=p.discount)
    return mdps.solve(mdp, mdp.reward(np.ones(1)), tol=1e-8)


def test_rewards_by_end_state_and_observation_are_averaged(reading):
    wanted = [[3.0, 0.0], [0.0, 7.0]]  # .3 · 10 + .7 · 0, and .25 · 4 + .75 · 8
    assert reading(A2).reward.tolist() == wanted
    lines = A2.splitlines()
    lines[16], lines[17] = lines[17], lines[16]
    assert reading("\n".join(lines)).reward.tolist() == wanted
    assert reading(A2.replace("values: reward", "values: cost")).reward.tolist() == [[-3.0, 0.0], [0.0, -7.0]]


def test_marks_of_byte_order_and_ends_of_line_do_not_matter(reading):
    p = reading(b"\xef\xbb\xbf" + A2.replace("\n", "\r\n").encode())
    assert p.reward.tolist() == [[3.0, 0.0], [0.0, 7.0]] and p.transition[0, 0].tolist() == [0.3, 0.7]
    old = reading(A2.replace("\n", "\r").encode())
    assert old.reward.tolist() == p.reward.tolist()
    for encoding in ("utf-16", "utf-16-le"):
        with pytest.raises(ValueError, match=r"some.pomdp is in UTF-16.*save it as UTF-8"):
            reading(A2.encode(encoding))
    with pytest.raises(ValueError, match=r"some.pomdp, line 2: byte 0xe9 is no UTF-8"):
        reading(b"discount: 0.9\n# caf\xe9\nvalues: reward\n")


def spelled(rng, letter, table, names):
    """Statements that come to the given table, in forms drawn at random, over one that says something else."""

    def word(axis, i):
        return names[axis][i] if rng.random() < 0.5 else str(i)

    lines = [f"{letter}: {' : '.join('*' * table.ndim)} 0.125"]
    for a in range(table.shape[0]):
        given = table.ndim - rng.integers(3)  # indices: all for a single number, fewer for a row or a matrix
        for rest in np.ndindex(table.shape[1:given]):
            at = " : ".join(word(axis, i) for axis, i in enumerate((a, *rest)))
            rows = np.atleast_2d(table[(a, *rest)]).tolist()
            lines += [f"{letter}: {at}  # a comment: 3", *(" ".join(map(repr, row)) for row in rows)]
    return lines


@pytest.mark.parametrize("seed", range(8))
def test_all_forms_come_to_the_tables_that_they_spell(seed, reading):
    rng = np.random.default_rng(seed)
    A, X, O = 2, 3, 4
    actions, states, observations = ("go", "T"), ("R", "x-1", "goal"), ("yes", "no", "T", "start")
    T, seen = rng.dirichlet(np.ones(X), size=(A, X)), rng.dirichlet(np.ones(O), size=(A, X))
    paid = rng.normal(size=(A, X, X, O))
    lines = [
        spelled(rng, "T", T, [actions, states, states]),
        spelled(rng, "O", seen, [actions, states, observations]),
        spelled(rng, "R", paid, [actions, states, states, observations]),
    ]
    preamble = ["values : reward", "actions:", *actions, "discount:.5"]
    preamble += [f"observations: {' '.join(observations)}", f"states: {' '.join(states)}", "start:", "0.25 0.25", ".5"]
    p = reading("\n".join([*preamble, *(line for i in rng.permutation(3) for line in lines[i])]))
    np.testing.assert_allclose(p.transition, T, rtol=1e-15)
    np.testing.assert_allclose(p.observation, seen, rtol=1e-15)
    np.testing.assert_allclose(p.reward, np.einsum("axy,ayo,axyo->ax", T, seen, paid), atol=1e-14)
    assert p.start.tolist() == [0.25, 0.25, 0.5] and p.discount == 0.5 and p.horizon is None
    assert (p.actions, p.states, p.observations) == (actions, states, observations)


@pytest.mark.parametrize("axes", ["", "a", "x", "y", "o", "ax", "ay", "xo", "yo", "axo", "xyo"])
def test_rewards_with_wildcards(axes, reading):
    rng = np.random.default_rng(len(axes))
    sizes = {"a": 2, "x": 3, "y": 3, "o": 2}
    T, seen = rng.dirichlet(np.ones(3), size=(2, 3)), rng.dirichlet(np.ones(2), size=(2, 3))
    paid = rng.normal(size=[sizes[axis] if axis in axes else 1 for axis in "axyo"])
    lines = ["discount: 0.9", "values: rewards", "states: 3", "actions: 2", "observations: 2"]
    for letter, table in (("T", T), ("O", seen)):
        lines += [f"{letter}: {a} {' '.join(map(repr, table[a].ravel().tolist()))}" for a in range(2)]
    for index in np.ndindex(paid.shape):
        at = " : ".join(str(i) if axis in axes else "*" for axis, i in zip("axyo", index, strict=True))
        lines.append(f"R: {at} {paid[index].item()!r}")
    p = reading("\n".join(lines))
    np.testing.assert_allclose(
        p.reward, np.einsum("axy,ayo,axyo->ax", T, seen, np.broadcast_to(paid, (2, 3, 3, 2))), atol=1e-14
    )
    if "y" not in axes and "o" not in axes:  # not multiplied by sums that are nearly one
        assert set(p.reward.ravel()) == set(paid.ravel())


@pytest.mark.parametrize(
    "line, wanted",
    [
        ("", [1 / 3, 1 / 3, 1 / 3]),
        ("start: uniform", [1 / 3, 1 / 3, 1 / 3]),
        ("start: 0.2 0.3 0.5", [0.2, 0.3, 0.5]),
        ("start:\n\n0.2\n0.3 5e-1", [0.2, 0.3, 0.5]),
        ("start: 0.333333 0.333333 0.333333", [1 / 3, 1 / 3, 1 / 3]),
        ("start: b", [0, 1, 0]),
        ("start: 1", [0, 1, 0]),
        ("start: 0 1 0", [0, 1, 0]),
        ("start: a c", [0.5, 0, 0.5]),
        ("start include: a 2", [0.5, 0, 0.5]),
        ("start include:\n1", [0, 1, 0]),
        ("start  exclude : b", [0.5, 0, 0.5]),
        ("start exclude: 0 1", [0, 0, 1]),
    ],
)
def test_every_form_of_the_start(line, wanted, reading):
    p = reading(f"{MDP.replace('states: 3', 'states: a b c')}{line}\n")
    np.testing.assert_array_equal(p.start, wanted)
    moved = reading(f"{MDP.replace('states: 3', 'states: a b c')}T: * : 1 reset\n{line}")
    np.testing.assert_array_equal(moved.transition[0], [[1, 0, 0], wanted, [0, 0, 1]])


def test_one_state_starts_there_however_it_is_said(reading):
    for line in ("", "start: 0", "start: 1.0", "start: 1", "start: uniform", "start include: 0"):
        assert reading(f"{MDP.replace('states: 3', 'states: 1')}{line}\n").start.tolist() == [1.0]


def test_an_mdp_has_one_observation_that_tells_nothing(reading):
    p = reading(MDP + "R: 0 : 1 : 1 : * 4\nR: 0 : 2 : 2 5\nR: 0 : 0 : * : 0 2\n")
    assert p.observation.tolist() == [[[1.0]] * 3] and p.reward.tolist() == [[2.0, 4.0, 5.0]]
    assert reading(MDP + "R: 0\n1 0 0 0 2 0 0 0 3").reward.tolist() == [[1.0, 2.0, 3.0]]


def test_a_colon_before_the_value_says_nothing_else(reading):
    p = reading(MDP + "T: 0 : 0 : 0 : 0.25\nT: 0 : 0 : 1 : 0.75\nR: 0 : 0 : 1 : * : 4\n")
    assert p.transition[0, 0].tolist() == [0.25, 0.75, 0] and p.reward[0, 0] == 3.0


def test_a_file_that_names_no_discount_gets_it_from_its_reader(reading):
    text = MDP.replace("discount: 0.9\n", "")
    assert reading(text, discount=0.75).discount == 0.75
    with pytest.raises(ValueError, match=r"some.pomdp: there is no line 'discount: ...'; add one, or give read"):
        reading(text)
    with pytest.raises(ValueError, match=r"line 1: the file says its discount itself, so discount=0.75"):
        reading(MDP, discount=0.75)
    with pytest.raises(ValueError, match=r"discount is 1.5; give one number in \[0, 1\]"):
        reading(text, discount=1.5)


def test_cassandras_tiger_opens(reading):
    """Cassandra, Kaelbling and Littman (1994): names, identity, uniform, no start."""
    p = reading(
        "discount: 0.95\nvalues: reward\nstates: left right\nactions: listen open-left open-right\n"
        "observations: roar-left roar-right\nT:listen\nidentity\nT: 1 uniform\nT:open-right\nuniform\n"
        "O:listen\n0.85 0.15\n0.15 0.85\nO: open-left uniform\nO: 2 : * uniform\nR: * : * : * : * 10\n"
        "R:listen:*:*:* -1\nR: open-left : left : * : * -100\nR: open-right : right : * : roar-left -100\n"
        "R: 2 : 1 : * : 1 -100.0"
    )
    half = [[0.5, 0.5], [0.5, 0.5]]
    assert p.transition.tolist() == [[[1, 0], [0, 1]], half, half]
    assert p.observation.tolist() == [[[0.85, 0.15], [0.15, 0.85]], half, half]
    assert p.reward.tolist() == [[-1, -1], [-100, 10], [10, -100]] and p.start.tolist() == [0.5, 0.5]


def test_a_maze_of_one_dimension(reading, x64):
    """Rows of .333333 are thirds: otherwise the values are off by 2.9e-6."""
    p = reading(
        "discount: 0.75\nvalues: reward\nstates: left middle right goal\nactions: w0 e0\nobservations: nothing goal\n"
        "T: w0\n1 0 0 0\n1 0 0 0\n0 0 0 1\n0.333333 0.333333 0.333333 0\nT: e0 identity\n"
        "T: e0 : left 0 1 0 0\nT: e0 : middle\n0.0 0.0 0.0 1.0\nT: e0 : goal 0.333333 0.333333 0.333333 0.0\n"
        "O: * : * : nothing 1\nO: * : goal\n0 1\nR: * : * : goal : goal 1.0\n"
    )
    solution = full_information_value(p)
    np.testing.assert_allclose(solution.value, [1.5483871, 2.0645161, 2.0645161, 1.4193548], atol=1e-7)


def test_a_corner_without_observations_has_exact_ties(reading, x64):
    """A 2 × 2 grid: two corners are the end, the other two are left with .8; every try costs one."""
    lines = ["values: rewards", "states: 4", "actions: 4", "discount: 0.95", "T: * identity", "R: * : 1 : * : * -1.0"]
    lines += ["R: * : 2 : * : * -1"]
    for a, x, y in ((0, 2, 0), (1, 2, 3), (2, 1, 3), (3, 1, 0)):
        lines += [f"T: {a} : {x} : {x} 0.2", f"T: {a} : {x} : {y} 0.8"]
    lines += ["R: 0 : 2 : 2 : * 0", "R: 1 : 2 : 2 : * 0", "R: 2 : 1 : 1 : * 0", "R: 3 : 1 : 1 : * 0"]
    solution = full_information_value(reading("\n".join(lines)))
    np.testing.assert_allclose(solution.value, [0, -80 / 81, -80 / 81, 0], atol=1e-8)
    quarter, half = [0.25] * 4, 0.5
    ties = [quarter, [0, 0, half, half], [half, half, 0, 0], quarter]
    np.testing.assert_array_equal(solution.policy, ties)


def test_a_shuttle_is_paid_by_where_it_arrives(reading, x64):
    """Chrisman (1992): the 10 come only with probability .7, from one state into another."""
    lines = ["discount: 0.95", "values: reward", "states: d0 m1 s2 l3 m4 s5 l6 d7", "actions: turn go back"]
    lines += ["start:", "0.0 0.0 0.0 0.0 0.0 0.0 0.0 1.0", "T: back : d0 : d7 1", "T: back : 7 : d7 1.0"]
    lines += [f"T: turn : {x} : {y} 1.0" for x, y in enumerate((1, 4, 5, 6, 1, 2, 3, 1))]
    lines += [f"T: 1 : {x} : {y} 1.0" for x, y in enumerate((4, 1, 1, 2, 5, 6, 6, 4))]
    back = {1: {1: 0.4, 2: 0.3, 4: 0.3}, 2: {2: 0.1, 3: 0.8, 6: 0.1}, 3: {0: 0.7, 3: 0.3}}
    back |= {4: {4: 0.3, 7: 0.7}, 5: {1: 0.1, 4: 0.8, 5: 0.1}, 6: {3: 0.3, 5: 0.3, 6: 0.4}}
    lines += [f"T: back : {x} : {y} {chance}" for x, row in back.items() for y, chance in row.items()]
    lines += ["R: go : 1 : 1 : * -3", "R: go : l6 : 6 : * -3   # a collision", "R: back : 3 : d0 : * 10"]
    p = reading("\n".join(lines))
    assert p.reward[2, 3] == 7.0 and p.start.argmax() == 7
    solution = full_information_value(p)
    wanted = [32.8897247, 33.3532011, 37.9370781, 40.3799537, 34.6207628, 36.4429082, 38.3609560, 32.8897247]
    np.testing.assert_allclose(solution.value, wanted, atol=1e-7)
    np.testing.assert_array_equal(solution.policy.argmax(axis=1), [1, 2, 2, 2, 1, 1, 0, 1])
    assert solution.policy.max(axis=1).min() == 1.0


def test_the_four_by_three_world(reading, x64):
    """Russell and Norvig's, with an absorbing end and a start of six digits."""
    cells = [(r, c) for r in range(3) for c in range(4) if (r, c) != (1, 1)]
    compass = {"n": (-1, 0), "s": (1, 0), "e": (0, 1), "w": (0, -1)}
    lines = ["discount: 0.95", "values: reward", "states: 12", f"actions: {' '.join(compass)}", "observations: 1"]
    some = "0.111111 0.111111 0.111111"
    lines += ["start:", f"{some} 0.0 0.111111 0.111111 0.0 0.111112 {some} 0.0", "O: * : * : * 1.0"]
    for x, (r, c) in enumerate(cells):
        for name, (down, right) in compass.items():
            row = np.zeros(12)
            for d, step in ((0.8, (down, right)), (0.1, (right, down)), (0.1, (-right, -down))):
                there = (r + step[0], c + step[1])
                row[cells.index(there) if there in cells else x] += d
            lines.append(f"T: {name} : {x} {' '.join(map(str, row.round(6).tolist()))}")
    lines += ["T: * : 3 : * 0.0", "T: * : 3 : 11 1.0", "T: * : 6 : * 0", "T: * : 6 : 11 1", "T: * : 11 : 11 1.0"]
    lines += ["R: * : 0 : * : * -0.00", "R: * : 3 : * : * 1.0", "R: * : 6 : * : * -1.0"]
    p = reading("\n".join(lines))
    value = full_information_value(p).value
    wanted = [0.79438545, 0.85277717, 0.90888093, 1, 0.74534931, 0.65828675, -1]
    wanted += [0.69431344, 0.65145458, 0.61617981, 0.41248249, 0]
    np.testing.assert_allclose(value, wanted, atol=2e-8)
    assert p.start @ np.asarray(value) == pytest.approx(0.70378998, abs=2e-8)


def hallway():
    """Littman, Cassandra and Kaelbling (1995): 15 cells times 4 headings; four cells lie south of the corridor."""
    joined = {(cell, 1): cell + 1 for cell in range(10)} | {(cell + 1, 3): cell for cell in range(10)}
    for door, cell in ((11, 2), (12, 4), (13, 6), (14, 8)):
        joined |= {(cell, 2): door, (door, 0): cell}
    lines = ["discount: 0.950000", "values: reward", "states: 60", "actions: 5", "start:"]
    lines += [" ".join(["0.017865", *["0.017857"] * 55, *["0.0"] * 4])]
    for cell, heading in np.ndindex(14, 4):
        x = 4 * cell + heading
        moved = np.zeros(60)
        moved[x] += 0.05
        ways = [
            (0, 0, 0.8),
            (1, 1, 0.05),
            (3, 3, 0.05),
            (2, 0, 0.025),
            (2, 2, 0.025),
        ]  # right, left, and back in two ways
        for toward, facing, chance in ways:
            there = joined.get((cell, (heading + toward) % 4))
            moved[x if there is None else 4 * there + (heading + facing) % 4] += chance
        turns = {2: (0.1, 0.7, 0.1, 0.1), 3: (0.1, 0.15, 0.6, 0.15), 4: (0.1, 0.1, 0.1, 0.7)}
        lines += [f"T: 0 : {x} : {x} 1.0"] + [f"T: 1 : {x} : {y} {moved[y]:.6f}" for y in np.flatnonzero(moved)]
        for action, chances in turns.items():
            lines += [f"T: {action} : {x} : {4 * cell + (heading + k) % 4} {p}" for k, p in enumerate(chances)]
    for x in range(56, 60):  # the goal, from where all begins anew
        lines += [f"T: * : {x} \nreset", f"R: * : * : {x} : * 1.000000"]
    return "\n".join(lines)


def test_littmans_hallway_opens_with_its_values(reading, x64):
    p = reading(hallway())
    value = np.asarray(full_information_value(p).value)
    assert p.start @ value == pytest.approx(1.5357730, abs=1e-7)
    assert value.min() == pytest.approx(1.0921022, abs=1e-7) and value.max() == pytest.approx(2.3023677, abs=1e-7)


MISTAKES = [
    ("T: 0 : 0 : 0 0.3", "T: 0 : 0 : zero 0.3", 7, "end state 'zero' does not exist; there are 0 to 1"),
    ("T: 0 : 0 : 0 0.3", "T: 0 : 99 : 0 0.3", 7, "start state '99' does not exist; there are 0 to 1"),
    ("T: 0 : 0 : 0 0.3", "T: 2 : 0 : 0 0.3", 7, "action '2' does not exist"),
    ("T: 0 : 0 : 0 0.3", "T: -1 : 0 : 0 0.3", 7, "action '-1' does not exist"),
    ("O: 1 : 0 : 1 0.75", "O: 1 : 0 : 2 0.75", 15, "observation '2' does not exist"),
    ("R: 1 : 1 : 0 : 1 8", "R: 1 : 1 : 0 : 7 8", 20, "observation '7' does not exist"),
    ("R: 1 : 1 : 0 : 1 8", "R: 1 : 1 : 3 : 1 8", 20, "end state '3' does not exist"),
    ("R: 1 : 1 : 0 : 1 8", "R: 1 : x : 0 : 1 8", 20, "start state 'x' does not exist"),
    ("R: 1 : 1 : 0 : 1 8", "R: 1 : 1 : 0 : 1 eight", 20, "'eight' is no number"),
    ("R: 1 : 1 : 0 : 1 8", "R: 1 : 1 : 0 : 1 nan", 20, "'nan' is no number"),
    ("R: 1 : 1 : 0 : 1 8", "R: 1 : 1 : 0 : 1 1_0", 20, "'1_0' is no number"),
    ("R: 1 : 1 : 0 : 1 8", "R: 1 : 1 : 0 : 1 1e999", 20, "1e999 is beyond float64"),
    ("R: 1 : 1 : 0 : 1 8", "R: 1 : 1 : 0 : 1 uniform", 20, "'uniform' is no number"),
    ("R: 1 : 1 : 0 : 1 8", "R: 1 : 1 : 0 : 1", 20, "R has no values here"),
    ("R: 1 : 1 : 0 : 1 8", "R: 1 : 1 : 0 : 1 8 9", 20, "there are 2 numbers; with these indices it must be one"),
    ("R: 1 : 1 : 0 : 1 8", "R: 1 : 1 : 0 1 2 3", 20, "there are 3 numbers; .* must be 2, 2 observations"),
    ("R: 1 : 1 : 0 : 1 8", "R: 1 : 1\n1 2 3", 20, "must be 4, 2 end states by 2 observations"),
    ("R: 1 : 1 : 0 : 1 8", "R: 1 : 1 : 0 : 1 : 8 : 9", 20, "R takes at most 4 indices"),
    ("T: 1 : 0 : 0 1.0", "T: 1 0.5", 10, "there are 1 numbers; .* must be 4, 2 start states by 2 end states"),
    ("T: 1 : 0 : 0 1.0", "T: 1\n1 0\n0 1 0", 10, "there are 5 numbers"),
    ("T: 1 : 0 : 0 1.0", "T: 1\n1 0\n0 one", 12, "'one' is no number"),
    ("T: 1 : 0 : 0 1.0", "T: 1\n1 0\n-0.5 1.5", 12, "-0.5 is negative"),
    ("T: 1 : 0 : 0 1.0", "T: 1 : 0 : 0 -1.0", 10, "-1.0 is negative"),
    ("T: 1 : 0 : 0 1.0", "T: 1 : 0 : 0 nan", 10, "'nan' is no number"),
    ("T: 1 : 0 : 0 1.0", "T: 1 : 0 : 0 uniform", 10, "'uniform' has no meaning here"),
    ("T: 1 : 0 : 0 1.0", "T: 1 : 0 identity", 10, "'identity' has no meaning here"),
    ("T: 1 : 0 : 0 1.0", "T: 1 : 0 unform", 10, "'unform' is no number"),
    ("T: 1 : 0 : 0 1.0", "T:", 10, "action 'T' does not exist"),
    ("T: 1 : 0 : 0 1.0", "T: 1 : 0 : 0 1.0 junk", 10, "'junk' is no number"),
    ("T: 1 : 0 : 0 1.0", "T: 1 : 0 : 0 0.9", 10, r"T of action 1 and start state 0 sums to 0.9 .*last"),
    ("T: 0 : 0 : 1 0.7", "T: 0 : 0 : 1 0.70002", 8, "T of action 0 and start state 0 sums to 1.00002"),
    ("O: 1 : 0 : 1 0.75", "O: 1 : 0 : 1 0.5", 15, "O of action 1 and end state 0 sums to 0.75"),
    ("O: 1 : 0 : 0 0.25", "O: 1 reset", 14, "'reset' has no meaning here"),
    ("start: 0.5 0.5", "start: 0.7 0.7", 6, "start sums to 1.4"),
    ("start: 0.5 0.5", "start: 0.5 0.3 0.2", 6, "start has 3 numbers for 2 states"),
    ("start: 0.5 0.5", "start: 0.5", 6, "start has 1 numbers for 2 states"),
    ("start: 0.5 0.5", "start: -0.5 1.5", 6, "-0.5 is negative"),
    ("start: 0.5 0.5", "start: 7", 6, "state '7' does not exist"),
    ("start: 0.5 0.5", "start: here 0.5", 6, "'here' is no number"),
    ("start: 0.5 0.5", "start:", 6, "'start' takes one colon, and something after it"),
    ("start: 0.5 0.5", "start include: 0 0", 6, "state 0 is listed twice"),
    ("start: 0.5 0.5", "start include: *", 6, "state '\\*' does not exist"),
    ("start: 0.5 0.5", "start exclude: 1 0", 6, "no state is left"),
    ("start: 0.5 0.5", "start: uniform\nstart: 1", 7, "'start' is given a second time"),
    ("discount: 0.95", "discount: 1.5", 1, r"the discount is 1.5; it must lie in \[0, 1\]"),
    ("discount: 0.95", "discount: -0.5", 1, "-0.5 is negative"),
    ("discount: 0.95", "discount: high", 1, "'high' is no number"),
    ("discount: 0.95", "discount: 0.9 0.8", 1, "the discount is one number, not 2 words"),
    ("discount: 0.95", "discont: 0.95", 1, "'discont' is no keyword"),
    ("discount: 0.95", "hello\ndiscount: 0.95", 1, "a file begins with one of"),
    ("values: reward", "values: gain", 2, "values are 'reward' or 'cost', not 'gain'"),
    ("states: 2", "states: 0", 3, "states are one number from 1 to 1000000, or names; '0' is neither"),
    ("states: 2", "states: 2 3", 3, "'2' is neither"),
    ("states: 2", "states: two two", 3, "'two' is there twice"),
    ("states: 2", "states:", 3, "'states' takes one colon, and something after it"),
    ("states: 2", "states: 2 : 3", 3, "'states' takes one colon"),
    ("states: 2", "states: 2\nhorizon: 3", 4, "'horizon' is no keyword"),
    ("observations: 2", "", 12, "no line 'observations: ...', so nothing is observed"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "message"), MISTAKES)
def test_a_mistake_is_named_by_its_line(old, new, line, message, reading):
    assert f"{old}\n" in A2
    with pytest.raises(ValueError, match=f"^some.pomdp, line {line}: .*{message}"):
        reading(A2.replace(f"{old}\n", f"{new}\n", 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("states: 2\n", "", "there is no line 'states: ...'"),
        ("values: reward\n", "", "there is no line 'values: ...'"),
        ("T: 0 : 1 : 1 1.0\n", "", "no line gives T of action 0 and start state 1"),
        ("O: 1 : 1 : 0 1.0\n", "", "no line gives O of action 1 and end state 1"),
        ("states: 2\n", "states: 99999\n", "99999 states, 2 actions and 2 observations make tables of 19,999,600,002"),
    ],
)
def test_what_is_missing_has_no_line(old, new, message, reading):
    with pytest.raises(ValueError, match=f"^some.pomdp: {message}"):
        reading(A2.replace(old, new, 1))


def test_a_file_that_says_nothing(reading):
    for text in ("", "# nothing\n"):
        with pytest.raises(ValueError, match=r"some.pomdp: there is no line 'values: ...'; values, states and actions"):
            reading(text)
    with pytest.raises(ValueError, match=r"some.pomdp, line 4: 'start' is followed by nothing"):
        reading("values: cost\nstates: 1\nactions: 1\nstart: # at the end\n", discount=0.5)
    with pytest.raises(
        ValueError, match=r"some.pomdp, line 3: states are one number, or distinct names; there is nothing"
    ):
        reading("values : reward\nactions:1\nstates:", discount=0.5)
    with pytest.raises(TypeError, match="path is None; give the name of a file"):
        read(None)


def test_a_long_file_is_read_as_a_short_one(reading):
    rng = np.random.default_rng(0)
    X = 60
    T = rng.dirichlet(np.ones(X), size=X)
    lines = ["discount: 0.9", "values: reward", f"states: {X}", "actions: 1"]
    lines += [f"T: 0 : {x} : {y} {T[x, y].item()!r}" for x, y in np.ndindex(X, X)]
    lines += [f"R: 0 : {x} : {y} : * {x - y}" for x, y in np.ndindex(X, X)]
    p = reading("\n".join(lines))
    np.testing.assert_allclose(p.transition[0], T, rtol=1e-14)
    np.testing.assert_allclose(p.reward[0], (T * np.subtract.outer(np.arange(X), np.arange(X))).sum(axis=1), atol=1e-10)
