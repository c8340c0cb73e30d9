"""The command: `python -m fuzz --minutes 5 --seed 0`; see `--help`."""

import argparse
import os
import sys
import warnings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # many small systems: threads would only wait for each other
os.environ.setdefault("JAX_PLATFORMS", "cpu")


def main() -> int:
    """Run for some minutes, print the table and what was violated; 1 if anything was."""
    from fuzz import machine

    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__.partition(":")[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="how long to look (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="where the problems come from (default: 0)")
    parser.add_argument("--only", nargs="+", choices=list(machine.FAMILIES), help="these families of promises alone")
    parser.add_argument("--problems", type=int, help="stop after so many problems, if that comes first")
    parser.add_argument("--json", help="write the table and the settings to this file")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")  # the library says what float32 cannot do; here that is the point
    report = machine.run(
        chosen.seed,
        chosen.only,
        seconds=60 * chosen.minutes,
        most=chosen.problems,
        say=lambda line: print(line, flush=True),
    )
    print(report.told())
    if chosen.json:
        report.save(chosen.json, seed=chosen.seed, only=chosen.only)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
