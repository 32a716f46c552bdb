"""Loads a run's model with transformers: padded, it computes what Pollard does; compact, it is refused.

    python3 tests/load_elsewhere.py --install_seconds 180 npx -y deno@2.9.6

What comes after the options is the command of Deno, `deno` unless given. transformers is taken from the
Python that runs this, where it has it; else it is installed, with torch, into an environment that is thrown
away. Where pip's index offers torch with CUDA alone that is a large download: give pip one for the CPU.

Exit codes: 0 all is as it should be; 1 it is not; 3 transformers could not be installed (in that time), and
nothing was checked.
"""
import argparse
import json
import logging
import os
import pathlib
import subprocess
import sys
import tempfile
import venv

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = ["torch==2.13.0", "transformers==5.18.0", "safetensors==0.8.0"]
LARGEST_DIFFERENCE = 2e-4
NOT_INSTALLED = 3


def main():
    parser = argparse.ArgumentParser(description="Loads a run's model with transformers.")
    parser.add_argument("--install_seconds", type=float, default=600, help="most time for pip")
    parser.add_argument("deno", nargs=argparse.REMAINDER, help="the command of Deno")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"  # all it loads is on this disk
    try:
        import safetensors  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError:
        elsewhere(options.install_seconds)
    with tempfile.TemporaryDirectory(prefix="pollard-elsewhere-") as name:
        maker = ["run", "-A", str(HERE / "load_elsewhere.ts"), name]
        subprocess.run([*(options.deno or ["deno"]), *maker], check=True)
        place = pathlib.Path(name)
        padded(place)
        words(place)
        compact(place / "compact")


def elsewhere(seconds):
    """Runs this file again by a Python that has transformers."""
    if os.environ.get("POLLARD_ELSEWHERE"):
        sys.exit("transformers was installed, and cannot be imported")
    with tempfile.TemporaryDirectory(prefix="pollard-venv-") as name:
        venv.create(name, with_pip=True)
        python = os.path.join(name, "Scripts" if os.name == "nt" else "bin", "python")
        # what is never imported need not be compiled
        quiet = ["--quiet", "--disable-pip-version-check", "--no-compile"]
        install = [python, "-m", "pip", "install", *quiet, *PACKAGES]
        try:
            subprocess.run(install, check=True, timeout=seconds)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(error, file=sys.stderr)
            sys.exit(NOT_INSTALLED)
        again = [python, str(HERE / "load_elsewhere.py"), *sys.argv[1:]]
        environment = {**os.environ, "POLLARD_ELSEWHERE": "1"}
        sys.exit(subprocess.run(again, env=environment).returncode)


def padded(place):
    """The padded form is a GPT-2 like any other, and computes what we do."""
    import torch
    import transformers
    from safetensors.torch import load_file

    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        place / "padded", output_loading_info=True
    )
    for kind in ["missing_keys", "unexpected_keys", "mismatched_keys"]:
        if info[kind]:
            sys.exit(f"padded: {kind}: {info[kind]}")
    expected = load_file(place / "logits.safetensors")["logits"]
    tokens = torch.tensor(json.loads((place / "tokens.json").read_text()))
    with torch.no_grad():
        found = model.eval()(tokens).logits
    if found.shape != expected.shape or not torch.isfinite(found).all():
        sys.exit(f"padded: logits of shape {tuple(found.shape)}, finite or not")
    difference = (found - expected).abs().max().item()
    spread = expected.std().item()
    print(f"padded: {type(model).__name__} of transformers {transformers.__version__}, largest "
          f"difference of logits {difference:.1e} (their spread is {spread:.2f})")
    if not difference <= LARGEST_DIFFERENCE:
        sys.exit(f"padded: logits differ by {difference}, more than {LARGEST_DIFFERENCE}")


def words(place):
    """Its tokenizer makes the same tokens, and its configuration names the one that ends a text."""
    import transformers

    expected = json.loads((place / "text.json").read_text())
    tokenizer = transformers.AutoTokenizer.from_pretrained(place / "padded")
    found = tokenizer.encode(expected["text"])
    if found != expected["ids"] or len(found) < 10:
        sys.exit(f"padded: tokens {found}, and not {expected['ids']}")
    config = transformers.AutoConfig.from_pretrained(place / "padded")
    ends = [tokenizer.eos_token_id, config.eos_token_id, config.bos_token_id]
    if ends != 3 * [expected["end"]]:
        sys.exit(f"padded: a text ends with token {ends}, and not {expected['end']}")
    print(f"padded: {len(found)} tokens of a text are the same, {ends[0]} ends one")


def compact(folder):
    """The compact form is refused, whichever way it is loaded, in the words of its own config.json."""
    from transformers import AutoConfig, AutoModelForCausalLM, GPT2LMHeadModel, pipeline

    words = json.loads((folder / "config.json").read_text())["model_type"]
    ways = {
        "AutoConfig": lambda: AutoConfig.from_pretrained(folder),
        "AutoModelForCausalLM": lambda: AutoModelForCausalLM.from_pretrained(folder),
        "pipeline": lambda: pipeline("text-generation", model=str(folder)),
        "GPT2LMHeadModel": lambda: GPT2LMHeadModel.from_pretrained(folder),
        "GPT2LMHeadModel, sizes ignored": lambda: GPT2LMHeadModel.from_pretrained(
            folder, ignore_mismatched_sizes=True
        ),
    }
    logging.disable(logging.WARNING)
    shown = set()
    for name, load in ways.items():
        try:
            load()
        except Exception as error:  # of whatever type: its message is what counts
            message = str(error).splitlines()[0]
            if words not in message:
                sys.exit(f"compact, {name}: not refused in its own words: {message}")
            if message not in shown:
                print(f"compact, {name}: {type(error).__name__}: {message}")
            shown.add(message)
        else:
            sys.exit(f"compact, {name}: it was loaded")
    print(f"compact: refused in its own words in all of {len(ways)} ways")


if __name__ == "__main__":
    main()
