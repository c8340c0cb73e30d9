"""Driving without a table at a small size: the simulator by itself, the driver, and the program."""

import json

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest

from examples.rollouts import __main__ as rollouts
from examples.rollouts import driver, road, study

pytestmark = pytest.mark.usefixtures("unannotated_throughout")  # as users run them


def by_hand(given, controls):
    """The car of the road in plain Python, with a solid truck: x, y, turned and speed after each step."""
    x, y, turned, speed, found = 0.0, 0.0, 0.0, float(given.speed), []
    for t, (push, angle) in enumerate(np.clip(controls, *road.LIMITS)):
        truck = float(given.truck) + float(given.slow) * road.STEP * (t + 1)
        turned += road.STEP * speed / road.AXLES * np.tan(angle)
        speed = min(max(speed + road.STEP * push, 0.0), road.FAST)
        new_x, new_y = x + road.STEP * speed * np.cos(turned), y + road.STEP * speed * np.sin(turned)
        if abs(new_x - truck) < road.LONG and abs(new_y) < road.WIDE:
            if abs(y) < road.WIDE and new_x < truck:
                new_x, speed = truck - road.LONG, min(speed, float(given.slow))
            else:
                new_y = road.WIDE
        x, y = new_x, new_y
        found.append((x, y, turned, speed))
    return np.array(found)


def test_the_road_is_that_of_a_plain_loop_and_the_truck_is_solid(x64):
    rng = np.random.default_rng(0)
    met = 0
    for seed in range(4):
        given = road.scene(jax.random.key(seed), 1.0)
        controls = rng.normal(size=(40, 2)) * [1.0, 0.001 * seed] + [1.0, 0.0]
        states, features = road.drive(given, road.start(given), jnp.asarray(controls))
        wanted = by_hand(given, controls)
        for i, name in enumerate(("x", "y", "turned", "speed")):
            np.testing.assert_allclose(getattr(states, name), wanted[:, i], atol=1e-9, err_msg=name)
        met += int((np.asarray(features)[:, road.NAMES.index("near truck")] > 1.2).any())
        gap = np.asarray(states.x) - (float(given.truck) + float(given.slow) * np.asarray(states.time))
        inside = (np.abs(gap) < road.LONG - 1e-9) & (np.abs(np.asarray(states.y)) < road.WIDE - 1e-9)
        assert not inside.any()
    assert met > 1


def test_ice_is_felt_on_the_left_lane_between_its_ends_and_nowhere_on_a_dry_road():
    zero = jnp.zeros(())
    given = road.scene(jax.random.key(0), 1.0)

    def felt(x, y, icy=1.0):
        car = road.Car(jnp.asarray(x), jnp.asarray(y), zero, given.speed, zero)
        return float(road.features(given._replace(icy=icy), car, jnp.zeros(2))[study.ICE])

    begins, ends = (float(x) for x in given.ice)
    middle = (begins + ends) / 2
    assert felt(middle, road.LANE) > 1.98 and felt(middle, 0.0) < 0.01 and felt(middle, road.LANE, 0.0) == 0
    assert felt(begins - 10, road.LANE) < 0.01 and felt(ends + 10, road.LANE) < 0.01


def test_drivers_keep_off_ice_that_no_reward_spoke_of(tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "TRIED", 32)
    small = ["--alternatives", "24", "--episodes", "2", "--runs", "3", "--samples", "4000"]
    with pytest.warns(RuntimeWarning, match="because features were estimated"):
        made = rollouts.main([*small, "--out", str(tmp_path)])
    assert json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8")) == made
    assert matplotlib.image.imread(tmp_path / "rollouts.png").shape[0] > 400
    rows = made["results"]
    # Seconds; seeds 0 to 3: 2.2 to 2.7 and at most .6.  So little evidence does not make good drivers.
    assert rows["literal"]["ice"][0] > 1.5 > 1 > rows["least exposure"]["ice"][0]
    assert rows["who knows of ice"]["ice"][0] < 0.5 and rows["literal"]["passed"][0] == 1
    mean, sd = made["weights"]["ice"]
    assert abs(mean) < 0.5 and sd > 0.9 and made["weights"]["progress"][0] > 0.3
    assert made["price"] > 0 and made["chosen"]["exposure"] < 5
