"""Executes neural_plasticity_demo.ipynb without a browser, and checks what its cells put out.

    python3 notebooks/execute.py --steps 6          in a folder that is thrown away: what CI does
    python3 notebooks/execute.py --save             at full length, and keeps the outputs in the file

What comes after the options is the command of Deno, `deno` unless given:

    python3 notebooks/execute.py --steps 6 npx -y deno@2.9.6

Needs Python 3.10 with venv. nbclient is installed into an environment that is thrown away, and so is the
description of Deno's kernel: nothing of the user's Jupyter is read or changed.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).resolve().parent
NOTEBOOK = HERE / "neural_plasticity_demo.ipynb"
RUNS = "runs/neural_plasticity_demo"
PACKAGES = ["nbclient==0.11.0", "nbformat==5.11.1"]
MOST_BYTES = 1_500_000
CELL_SECONDS = 3600
QUIET_SECONDS = 0.5


def main():
    parser = argparse.ArgumentParser(description="Executes the notebook and checks its outputs.")
    parser.add_argument("--steps", type=int, help="optimizer steps of every stage; few are quick")
    parser.add_argument("--save", action="store_true", help="keep the outputs in the notebook")
    parser.add_argument("deno", nargs=argparse.REMAINDER, help="the command of Deno")
    options = parser.parse_args()
    if options.save and options.steps is not None:
        parser.error("--save keeps the outputs of a run at full length: leave --steps out")
    if os.environ.get("POLLARD_NOTEBOOK_PLACE"):
        execute(options, pathlib.Path(os.environ["POLLARD_NOTEBOOK_PLACE"]))
    else:
        execute_elsewhere()


def execute_elsewhere():
    """Runs this file again by a Python that has nbclient."""
    with tempfile.TemporaryDirectory(prefix="pollard-notebook-") as name:
        place = pathlib.Path(name)
        venv.create(place / "venv", with_pip=True)
        programs = place / "venv" / ("Scripts" if os.name == "nt" else "bin")
        python = str(programs / "python")
        quiet = ["--quiet", "--disable-pip-version-check"]
        subprocess.run([python, "-m", "pip", "install", *quiet, *PACKAGES], check=True)
        folders = {
            "JUPYTER_PATH": "jupyter",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_RUNTIME_DIR": "runtime",
        }
        environment = {**os.environ, "POLLARD_NOTEBOOK_PLACE": name}
        for variable, folder in folders.items():
            (place / folder).mkdir()
            environment[variable] = str(place / folder)
        again = [python, str(pathlib.Path(__file__).resolve()), *sys.argv[1:]]
        sys.exit(subprocess.run(again, env=environment).returncode)


def execute(options, place):
    import nbformat

    deno = options.deno or ["deno"]
    if not shutil.which(deno[0]):
        sys.exit(f"there is no program {deno[0]}: name the command of Deno last, as --help says")
    kernel = place / "jupyter" / "kernels" / "deno"
    kernel.mkdir(parents=True)
    argv = [*deno, "jupyter", "--kernel", "--conn", "{connection_file}"]
    description = {"argv": argv, "display_name": "Deno", "language": "typescript"}
    (kernel / "kernel.json").write_text(json.dumps(description))

    os.environ["NO_COLOR"] = "1"
    if options.save:
        if (HERE / RUNS).exists():
            sys.exit(f"notebooks/{RUNS} is there: the outputs would be of an earlier run; move it away")
        notebook = run_cells()
        check(notebook, place, cycles=3)
        save(notebook, nbformat)
        return
    os.environ["POLLARD_NOTEBOOK_STEPS"] = str(6 if options.steps is None else options.steps)
    (HERE / "runs").mkdir(exist_ok=True)
    # Below the notebook, as a reader's runs are: a path from there to another folder may name the whole of it.
    with tempfile.TemporaryDirectory(prefix="executed-", dir=HERE / "runs") as name:
        os.environ["POLLARD_NOTEBOOK_DIR"] = os.path.relpath(name, HERE)
        first = run_cells()
        check(first, place, cycles=2)
        # A kernel that starts again finds everything done, and says the same.
        second = run_cells()
        check(second, place, cycles=2)
    for name in ["warmup", "analysis", "evaluation", "generation", "conclusion"]:
        if outputs(first, name) != outputs(second, name):
            sys.exit(f"cell {name} put out something else when the notebook was run again")
    print("the notebook ran from beginning to end, and again from its folder with the same outputs")


def run_cells():
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = patient_client()(
        notebook,
        kernel_name="deno",
        timeout=CELL_SECONDS,
        startup_timeout=300,  # npx may have to fetch Deno
        iopub_timeout=120,
        raise_on_iopub_timeout=True,
        record_timing=False,
        resources={"metadata": {"path": str(HERE)}},
    )
    client.execute()  # raises where a cell does
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    return notebook


def patient_client():
    """A client that hears the kernel out: Deno's may call a cell idle before its last outputs are sent."""
    import queue

    import nbclient

    class PatientClient(nbclient.NotebookClient):
        async def _async_poll_output_msg(self, parent_msg_id, cell, cell_index):
            await super()._async_poll_output_msg(parent_msg_id, cell, cell_index)
            while True:
                try:
                    message = await self.kc.iopub_channel.get_msg(timeout=QUIET_SECONDS)
                except queue.Empty:
                    return
                if message["parent_header"].get("msg_id") == parent_msg_id:
                    self.process_message(message, cell, cell_index)

    return PatientClient


def joined(outputs):
    """Lines of text that follow each other as one output."""
    found = []
    for output in outputs:
        last = found[-1] if found else {}
        if output.output_type == "stream" and output.name == last.get("name"):
            last.text += output.text
        else:
            found.append(output)
    return found


def outputs(notebook, name):
    """What a cell put out, but for the progress of a stage, which an experiment that is done has not."""
    (cell,) = [cell for cell in notebook.cells if cell.id == name]
    return [
        output.get("text") or dict(output.data)
        for output in cell.outputs
        if "<progress" not in output.get("data", {}).get("text/html", "")
    ]


def check(notebook, place, cycles):
    problems = []

    def need(condition, what):
        if not condition:
            problems.append(what)

    def text(name):
        return "".join(part for part in outputs(notebook, name) if isinstance(part, str))

    def shown(name, kind):
        parts = [part for part in outputs(notebook, name) if not isinstance(part, str)]
        return [part[kind] for part in parts if kind in part]

    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        whole = json.dumps(cell.outputs)
        need(cell.execution_count, f"cell {cell.id} was not run")
        need(not re.search(r"\b(NaN|undefined|Infinity|null)\b", whole), f"cell {cell.id}: no number")
        for path in {str(HERE.parent), str(place), str(pathlib.Path.home())} - {"/"}:
            need(path not in whole, f"cell {cell.id} names a path of this machine")
        need(
            all(output.get("name") != "stderr" for output in cell.outputs),
            f"cell {cell.id} wrote to stderr",
        )
    for name, marks in [("warmup", 1), ("analysis", 64)]:
        figures = shown(name, "image/svg+xml")
        need(len(figures) == 1, f"cell {name} must show one figure: {len(figures)}")
        for figure in figures:
            tree = xml.etree.ElementTree.fromstring(figure)
            count = sum(1 for one in tree.iter() if one.tag.endswith(("}path", "}rect")))
            need(count >= marks, f"cell {name}: the figure has {count} marks")
    number = r"-?\d+\.\d+"
    lines = {
        "warmup": (rf"  Loss: {number} nats per token\n  Perplexity: {number}\n", 1),
        "cycles": (rf"  Loss after training: {number}\n  Unpruned twin: {number}\n", cycles),
        "evaluation": (rf"Final perplexity: {number}\nUnpruned twin, same training: {number}\n", 1),
        "generation": (r"Generated:\n\S", 4),
        "save": (r"model\.safetensors", 1),
        "one-shot": (rf"Final perplexity: {number}\nUnpruned twin: {number}\n", 1),
        "conclusion": (rf"{number} nats per token (worse|better) than the unpruned twin", 2),
    }
    for name, (pattern, count) in lines.items():
        found = len(re.findall(pattern, text(name)))
        need(found == count, f"cell {name} must say {count} times {pattern!r}: {found}")
    for name, count in [("cycles", cycles - 1), ("evaluation", 1)]:
        pages = [page for page in shown(name, "text/html") if "data:image/svg+xml" in page]
        need(len(pages) == count, f"cell {name} must show {count} dashboards: {len(pages)}")
        for page in pages:
            panels = page.count("data:image/svg+xml")
            need(panels == 5, f"cell {name}: a dashboard has {panels} panels of 5")
    if problems:
        sys.exit("the notebook's outputs are not what they should be:\n  " + "\n  ".join(problems))


def save(notebook, nbformat):
    for cell in notebook.cells:
        cell.metadata.clear()
    notebook.metadata.language_info.pop("version", None)
    nbformat.validate(notebook)
    written = nbformat.writes(notebook) + "\n"
    size = len(written.encode())
    if size > MOST_BYTES:
        sys.exit(f"the notebook would be {size} bytes long, of {MOST_BYTES}: show less")
    NOTEBOOK.write_text(written, encoding="utf-8")
    print(f"{NOTEBOOK.name}: {size} bytes; its runs are in notebooks/{RUNS}")


if __name__ == "__main__":
    main()
