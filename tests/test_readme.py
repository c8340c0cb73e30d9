"""The README's program, word for word, does what the README says."""

import re

from test_docs import ROOT, blocks, elsewhere, run  # noqa: F401

import mdps


def test_the_careful_plan_keeps_out_of_lava_and_arrives_and_the_output_is_as_shown(unannotated, optimised, capsys):
    seen = run(ROOT / "README.md")
    [shown] = re.findall(r"```text\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert capsys.readouterr().out.startswith(shown)
    field, naive, careful = seen["field"], seen["naive"], seen["careful"]
    risk = {
        name: (
            float(mdps.visit_probability(field.mdp, plan.policy, field.where("lava"))),
            float(mdps.visit_probability(field.mdp, plan.policy, field.where("target"))),
        )
        for name, plan in (("naive", naive), ("careful", careful))
    }
    assert risk["naive"][0] > 0.9
    assert risk["careful"][0] < 1e-3
    assert risk["careful"][1] > 0.99
    found = seen["sweep"].arrays("worlds.zarr")
    assert found["entered"].dims == ("alpha", "share", "seed") and found["done"].values.all()
    assert found["entered"].values[0].mean() < found["entered"].values[-1].mean()  # more caution, less lava


def test_the_program_is_the_first_block_and_short():
    [(_, program), *_] = blocks(ROOT / "README.md")
    assert sum(bool(line.strip()) for line in program.splitlines()) <= 30
