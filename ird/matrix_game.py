"""Zero-sum matrix games of low rank, by an interior-point method: the master problem of `ird.planning.plan`."""

import jax
import jax.numpy as jnp


def equilibrium(features, cuts, intercepts, used, cut_used, target):
    """Solve `max_x min_y y·(cuts @ features.T + intercept)·x` over two simplices, to a gap of `target`.

    A primal-dual interior-point method (Mehrotra 1992).  Both players always stay feasible, so any
    iterate is usable, and its central, unpolished answers keep cutting planes from zigzagging
    (Gondzio, González-Brevis & Munari 2013).  Each step factors one matrix [J, J].
    """
    dtype = features.dtype
    row, col = used.astype(dtype), cut_used.astype(dtype)
    count = jnp.sum(row) + jnp.sum(col)
    middle = (row @ features) / jnp.sum(row)  # payoffs differ by little; subtract what they share
    features, intercepts = (features - middle[None]) * row[:, None], intercepts + cuts @ middle

    def slacks(x, y):
        s = cuts @ (x @ features) + intercepts  # payoff of each cut against x
        z = features @ (y @ cuts) + y @ intercepts  # payoff of each policy against y
        return s, z

    x, y = row / jnp.sum(row), col / jnp.sum(col)
    s, z = slacks(x, y)
    low, high = jnp.min(jnp.where(cut_used, s, jnp.inf)), jnp.max(jnp.where(used, z, -jnp.inf))
    spread = jnp.maximum(jnp.max(jnp.where(cut_used, s, low)) - low, high - jnp.min(jnp.where(used, z, high)))
    target = jnp.where(jnp.isfinite(target), target, 0.1 * spread)
    margin = 0.5 * jnp.maximum(jnp.maximum(spread, high - low), target)
    margin = jnp.where(margin > 0, margin, 1)
    t, u = low - margin, high + margin

    def longest(v, dv, mask):
        ratio = jnp.where(mask & (dv < 0), -v / jnp.where(dv < 0, dv, -1), jnp.inf)
        return jnp.minimum(1, 0.99 * jnp.min(ratio))

    def step(carry):
        x, y, t, u, best, trouble, _, i = carry
        s, z = slacks(x, y)
        s, z = jnp.where(cut_used, s - t, 1), jnp.where(used, u - z, 1)
        mu = (x @ z + y @ s) / count
        a, b = x / z, y / s  # zero outside the pools
        a_sum, b_sum = jnp.sum(a), jnp.sum(b)
        phi_bar, w_bar = (a @ features) / a_sum, (b @ cuts) / b_sum
        phi, w = features - phi_bar[None], cuts - w_bar[None]
        root = jnp.sqrt(a)
        U, B = root[:, None] * phi, (w * b[:, None]).T @ w
        factor = jnp.linalg.cholesky(jnp.eye(len(x), dtype=dtype) + U @ B @ U.T)

        def newton(r1, r2):
            c1, c2 = r1 - a * (jnp.sum(r1) / a_sum), r2 - b * (jnp.sum(r2) / b_sum)
            g2 = c2 @ w
            right = jnp.where(root > 0, c1 / jnp.where(root > 0, root, 1), 0) + U @ g2
            dx = root * jax.scipy.linalg.cho_solve((factor, True), right)
            dx = dx - a * (jnp.sum(dx) / a_sum)
            dp = dx @ phi
            dq = g2 - B @ dp
            dy = c2 - b * (w @ dp)
            dt = w_bar @ dp - jnp.sum(r2) / b_sum
            du = jnp.sum(r1) / a_sum + phi_bar @ dq  # less intercepts·dy, which is common to all columns
            ds = cuts @ dp - dt
            dz = du - features @ dq
            return dx, dy, dt, du + intercepts @ dy, jnp.where(cut_used, ds, 0), jnp.where(used, dz, 0)

        def lengths(dx, dy, ds, dz):
            primal = jnp.minimum(longest(x, dx, used), longest(s, ds, cut_used))
            dual = jnp.minimum(longest(y, dy, cut_used), longest(z, dz, used))
            return primal, dual

        dx, dy, _, _, ds, dz = newton(-x, -y)
        primal, dual = lengths(dx, dy, ds, dz)
        ahead = ((x + primal * dx) @ (z + dual * dz) + (y + dual * dy) @ (s + primal * ds)) / count
        centre = jnp.clip(ahead / mu, 0, 1) ** 3 * mu
        r1 = row * ((centre - dx * dz) / z - x)
        r2 = col * ((centre - dy * ds) / s - y)
        dx, dy, dt, du, ds, dz = newton(r1, r2)
        primal, dual = lengths(dx, dy, ds, dz)
        x, y = row * (x + primal * dx), col * (y + dual * dy)
        x, y, t, u = x / jnp.sum(x), y / jnp.sum(y), t + primal * dt, u + dual * du
        # Where rounding took a player out of the interior, move the value it aims at, not the player.
        s, z = slacks(x, y)
        low, high = jnp.min(jnp.where(cut_used, s, jnp.inf)), jnp.max(jnp.where(used, z, -jnp.inf))
        t, u = jnp.minimum(t, low - 0.1 * mu), jnp.maximum(u, high + 0.1 * mu)
        old_x, old_y, old_gap = best
        # Sums tell of NaN; the least and greatest of NaNs need not be NaN on a CPU.
        better = (high - low < old_gap) & jnp.isfinite(jnp.sum(x) + jnp.sum(y))
        best = jnp.where(better, x, old_x), jnp.where(better, y, old_y), jnp.where(better, high - low, old_gap)
        last, bad = trouble
        bad = bad + ~(mu < 0.9 * last)
        stop = (bad > 3) | (u - t <= target) | (high - low <= 0.5 * target)
        return x, y, t, u, best, (mu, bad), stop, i + 1

    best = x, y, high - low
    trouble = jnp.asarray(jnp.inf, dtype), jnp.zeros((), jnp.int32)
    start = x, y, t, u, best, trouble, jnp.asarray(False), 0
    x, y, _ = jax.lax.while_loop(lambda c: ~c[6] & (c[7] < 40), step, start)[4]
    return x, y
