"""Who writes a store of Zarr so that it may be killed: this project's files, zarr-python and tensorstore, measured.

    python -m benchmarks.zarr_writers [--kills 40]

A process writes blocks, two fields and then a done mark each, and is killed with SIGKILL at random moments.  What is
on the disk afterwards is looked at: chunks that are cut, marks without their fields, files that were begun.  Calls of
fsync are counted with strace where there is one: what was not forced to the disk may be lost, or come after its done
mark, when a machine goes down (a kill of the process cannot show that).  tensorstore is not among the project's
extras; install it, or its row is left out.
"""

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BLOCKS, WIDTH = 200, 1000
FIELDS = ("lava", "goal", "done")


def ours(folder: Path):
    """Write a block with the project's own code."""
    from ird.sweep import zarr_files as files

    def write(n):
        values = np.full(WIDTH, n, np.float32)
        files.publish({files.chunk_file(folder, name, (n,)): files.encode(values, (WIDTH,)) for name in FIELDS[:2]})
        files.publish({files.chunk_file(folder, "done", (n,)): files.encode(values, (WIDTH,))})

    return write


def zarr_python(folder: Path):
    """Write a block with zarr-python."""
    import zarr

    more = {"shape": BLOCKS * WIDTH, "chunks": WIDTH, "dtype": "float32", "compressors": None, "overwrite": True}
    arrays = [zarr.create_array(folder / name, **more) for name in FIELDS]

    def write(n):
        for array in arrays:
            array[n * WIDTH : (n + 1) * WIDTH] = n + 1

    return write


def tensorstore(folder: Path):
    """Write a block with tensorstore."""
    import tensorstore as ts  # pyright: ignore[reportMissingImports]

    arrays = []
    for name in FIELDS:
        grid = {"name": "regular", "configuration": {"chunk_shape": [WIDTH]}}
        about = {"shape": [BLOCKS * WIDTH], "data_type": "float32", "chunk_grid": grid}
        kvstore = {"driver": "file", "path": str(folder / name)}
        spec = {"driver": "zarr3", "kvstore": kvstore, "metadata": about}
        arrays.append(ts.open(spec, create=True, delete_existing=True).result())

    def write(n):
        fields = [array[n * WIDTH : (n + 1) * WIDTH].write(np.full(WIDTH, n + 1, np.float32)) for array in arrays[:2]]
        for future in fields:
            future.result()
        arrays[2][n * WIDTH : (n + 1) * WIDTH].write(np.full(WIDTH, n + 1, np.float32)).result()

    return write


WRITERS = {"this project": ours, "zarr-python": zarr_python, "tensorstore": tensorstore}


def child(name: str, folder: Path, blocks: int) -> None:
    """Write blocks, and say when it begins and ends."""
    write = WRITERS[name](folder)
    print("ready", flush=True)
    start = time.perf_counter()
    for n in range(blocks):
        write(n)
    print(time.perf_counter() - start, flush=True)


def command(name: str, folder: Path, blocks: int) -> list[str]:
    """How to start a child."""
    return [sys.executable, "-m", "benchmarks.zarr_writers", "--child", name, str(folder), str(blocks)]


def killed(name: str, kills: int) -> tuple[int, int, int]:
    """Cut chunks, marks without their fields, and begun files, over some kills."""
    rng = np.random.default_rng(0)
    cut = bare = begun = 0
    for _ in range(kills):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "s"
            with subprocess.Popen(command(name, folder, BLOCKS), stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(rng.uniform(0.01, 0.3))
                process.kill()
            chunks = {x: {f.name: f.stat().st_size for f in (folder / x / "c").glob("*")} for x in FIELDS}
            for x in FIELDS:
                begun += sum(not re.fullmatch(r"\d+", f) for f in chunks[x])
                cut += sum(size < 4 * WIDTH for f, size in chunks[x].items() if f.isdigit() and name != "tensorstore")
            bare += sum(any(f not in chunks[x] for x in FIELDS[:2]) for f in chunks["done"] if f.isdigit())
    return cut, bare, begun


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.child[0], Path(options.child[1]), int(options.child[2]))
    head = (
        "writer",
        "version",
        "chunks cut",
        "marks without fields",
        "files begun and left",
        "fsync a block",
        "ms a block",
    )
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for name in WRITERS:
        module = {"zarr-python": "zarr"}.get(name, name)
        if name != "this project" and importlib.util.find_spec(module) is None:
            continue
        from importlib import metadata

        version = "" if name == "this project" else metadata.version(module)
        with tempfile.TemporaryDirectory() as place:
            timed = subprocess.run(command(name, Path(place) / "s", BLOCKS), capture_output=True, text=True, check=True)
            took = 1e3 * float(timed.stdout.split()[-1]) / BLOCKS
        synced = "not counted"
        if shutil.which("strace"):
            counts = []
            for blocks in (10, 30):
                with tempfile.TemporaryDirectory() as place:
                    traced = ["strace", "-f", "-e", "trace=fsync,fdatasync,syncfs,sync_file_range"]
                    said = subprocess.run(
                        [*traced, *command(name, Path(place) / "s", blocks)], capture_output=True, text=True
                    )
                    counts.append(len(re.findall(r"(?:fsync|fdatasync|syncfs)\(", said.stderr)))
            synced = f"{(counts[1] - counts[0]) / 20:.1f}"
        cut, bare, begun = killed(name, options.kills)
        print(f"| {name} | {version} | {cut} | {bare} | {begun} | {synced} | {took:.1f} |", flush=True)


if __name__ == "__main__":
    main()
