"""Families of maps by others: what each case promises, and that the maps are those that were published."""

import gymnasium
import numpy as np
import pytest

from mdps.graph import reachable
from mdps.worlds import families

FAST = [
    name for name in families() if name.startswith(("shift", "island", "lake", "cliff", "detour", "moss", "minigrid"))
]
FAST += ["paper-A", "seen-but-unmentioned", "decoration-on-the-way", "far-goal"]


@pytest.mark.parametrize("name", FAST)
def test_a_case_has_one_set_of_features_and_a_hazard_that_only_the_field_has(name):
    for case in families()[name]:
        K = case.field.mdp.num_features
        assert case.train.mdp.feature_names == case.field.mdp.feature_names
        assert {x.shape for x in (case.written, case.meant, case.widths)} == {(K,)}
        assert (np.abs(np.asarray(case.written)) <= np.asarray(case.widths)).all()
        assert np.asarray(case.entered).any() and np.asarray(case.field.goal).any()
        assert np.asarray(case.train.where(case.hazard)).any() == (name == "seen-but-unmentioned")
        changed = np.asarray(case.written) != np.asarray(case.meant)
        named = [case.field.mdp.feature_names[k] for k in np.flatnonzero(changed)]
        assert set(named) <= {case.hazard} and (case.harmless or named or name.startswith("lake"))
        assert reachable(case.field.mdp)[np.asarray(case.field.goal)].any()


def test_families_are_made_when_they_are_asked_for_and_named_when_there_is_none():
    every = families()
    assert len(every) == len(list(every)) == len(set(every)) >= 37
    assert "cliff-B" in every and "cliff-Z" not in every and "island-A" in repr(every)
    with pytest.raises(KeyError, match=r"there is no family 'minigrid-none'.*need the extra"):
        every["minigrid-none"]


@pytest.mark.parametrize(("title", "size"), [("4x4", 4), ("8x8", 8)])
def test_the_lakes_are_gymnasiums(title, size):
    rows = gymnasium.make("FrozenLake-v1", map_name=title).unwrapped.desc.astype(str)
    [case] = [case for case in families()["lake-A"] if case.title == title]
    assert (case.field.cell.shape == (size, size)) and case.field.mdp.horizon == 60
    holes = np.asarray(case.field.where("hole"))[np.asarray(case.field.cell)]
    np.testing.assert_array_equal(holes, rows == "H")


def test_half_of_what_was_never_seen_is_moss_and_two_sensors_disagree_over_lava_alone():
    mixed = families()["mixed-A"][0]
    assert np.asarray(mixed.field.where("moss")).any() and np.asarray(mixed.field.where("lava")).any()
    assert np.asarray(mixed.meant)[mixed.field.names.index("moss")] == pytest.approx(-0.1)
    case = families()["two-sensors-A"][0]
    one, two = np.split(np.asarray(case.field.mdp.features), 2, axis=1)
    lava = np.asarray(case.field.where("lava"))
    assert (one[lava] != two[lava]).any(axis=1).all() and (one[~lava] == two[~lava]).all()
    np.testing.assert_array_equal(*np.split(np.asarray(case.train.mdp.features), 2, axis=1))


def test_a_short_field_leaves_three_steps_more_than_the_dry_way_takes_and_a_start_on_lava_is_nobodys_choice():
    case = families()["short-A"][0]
    assert case.field.mdp.horizon < case.train.mdp.horizon == 50
    start = families()["start-on-lava-A"][0]
    at = np.asarray(start.field.mdp.initial) > 0
    assert np.asarray(start.field.where("lava"))[at].all() and not np.asarray(start.entered)[at].any()
