"""Makes tests/older: model folders as older versions of transformers wrote them, and what they compute.

    python3 -m venv /tmp/venv
    /tmp/venv/bin/pip install torch==2.13.0 transformers==5.18.0 safetensors==0.8.0 numpy
    /tmp/venv/bin/python tests/make_older_fixtures.py

pruned_heads/ is what transformers 4 saved after `prune_heads`: transformers 5 can no longer read it, so
the reference is the whole model with the pruned heads' rows of `attn.c_proj` set to zero, in f64.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel

HERE = Path(__file__).resolve().parent / "older"
SIZES = dict(n_layer=3, n_head=3, n_embd=12, n_positions=16, vocab_size=40, n_inner=20)
PRUNED = {0: [2, 0], 1: [], 2: [1]}


def write(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def pruned_heads(folder):
    torch.manual_seed(11)
    config = GPT2Config(**SIZES, initializer_range=0.4, bos_token_id=0, eos_token_id=0)
    model = GPT2LMHeadModel(config).eval()
    C, HS = config.n_embd, config.n_embd // config.n_head
    weights = {k: v.clone() for k, v in model.state_dict().items() if k != "lm_head.weight"}
    for layer, heads in PRUNED.items():
        name = f"transformer.h.{layer}.attn."
        kept = torch.tensor([h * HS + i for h in range(config.n_head) if h not in heads for i in range(HS)])
        qkv = torch.cat([kept, kept + C, kept + 2 * C])
        for key, axis, index in (("c_attn.weight", 1, qkv), ("c_attn.bias", 0, qkv), ("c_proj.weight", 0, kept)):
            weights[name + key] = weights[name + key].index_select(axis, index).contiguous()
        with torch.no_grad():
            for h in heads:
                model.transformer.h[layer].attn.c_proj.weight[h * HS:(h + 1) * HS] = 0
    write(folder / "config.json", {**config.to_dict(), "pruned_heads": {str(k): v for k, v in PRUNED.items()}})
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokens = torch.randint(0, config.vocab_size, (16,), generator=torch.Generator().manual_seed(3))
    logits = model.double()(tokens[None]).logits[0, :-1]
    loss = torch.nn.functional.cross_entropy(logits, tokens[1:])
    write(folder / "expected.json", {"tokens": tokens.tolist(), "loss": loss.item()})


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    for make in (pruned_heads,):
        folder = HERE / make.__name__
        folder.mkdir(parents=True)
        make(folder)


if __name__ == "__main__":
    main()
