"""Makes tests/fixtures: a tiny GPT-2 and what PyTorch computes with it.

    python3 -m venv /tmp/venv
    /tmp/venv/bin/pip install torch==2.13.0 transformers==5.18.0 safetensors==0.8.0 numpy
    /tmp/venv/bin/python tests/make_fixtures.py

Weights are drawn from a seeded generator and stored as f32; everything that is computed from them
is computed by transformers in f64 and then rounded to f32, so a reference is exact to 6e-8 of its
value. The same versions write the same bytes; manifest.json holds their hashes.

Gates multiply each head's output before the output projection, by a hook in front of attn.c_proj.
Every sample has its own copy of the gates, so their gradients of the mean loss come per sample.
"""

import hashlib
import json
import math
import platform
import shutil
from pathlib import Path

import numpy
import safetensors
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel

HERE = Path(__file__).resolve().parent / "fixtures"
MAGIC = "pollard-fixtures-1"

# Odd on purpose: no size is a multiple of a workgroup, a tile or a vector, and F is not 4C.
SIZES = dict(n_layer=2, n_head=3, n_embd=51, n_positions=37, vocab_size=211, n_inner=119)
# All multiples of 4, as real models are: software adapters compute those with other kernels.
EVEN_SIZES = dict(n_layer=2, n_head=3, n_embd=60, n_positions=36, vocab_size=212, n_inner=124)
UNTIED_SIZES = dict(n_layer=1, n_head=2, n_embd=26, n_positions=19, vocab_size=97, n_inner=41)
B = 2
ADAMW = dict(steps=20, batches=3, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8,
             weight_decay=0.01, max_norm=1.0)


def draw_model(sizes, seed, tied=True):
    """A GPT-2 in f32, wide enough that attention is far from uniform and norms are not trivial."""
    config = GPT2Config(
        **sizes, layer_norm_epsilon=2e-5, activation_function="gelu_new", tie_word_embeddings=tied,
        attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0, bos_token_id=0, eos_token_id=0,
        attn_implementation="eager",
    )
    model = GPT2LMHeadModel(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            values = torch.randn(parameter.shape, generator=generator)
            if ".ln_" in name:
                values = values * 0.2 + (1.0 if name.endswith("weight") else 0.0)
            else:
                values = values * 0.15
            parameter.copy_(values)
    return model.eval()


def tokens_of(shape, vocab, seed):
    return torch.randint(0, vocab, shape, generator=torch.Generator().manual_seed(seed))


def with_gates(model, gates):
    """Hooks gates [B, L, NH] in front of every c_proj; returns z per layer and the hooks."""
    z_of, hooks = {}, []
    for layer, block in enumerate(model.transformer.h):
        def hook(module, inputs, layer=layer):
            z = inputs[0].view(*inputs[0].shape[:2], model.config.n_head, -1)  # [B, T, NH, HS]
            z_of[layer] = z.detach()
            return ((z * gates[:, layer, None, :, None]).flatten(2),)
        hooks.append(block.attn.c_proj.register_forward_pre_hook(hook))
    return z_of, hooks


def plain(name):
    return name.removeprefix("transformer.")


def measure(model, tokens, targets, gates):
    """Forward and backward in the model's own precision: everything by name."""
    gates = gates.to(next(model.parameters()).dtype).repeat(len(tokens), 1, 1).requires_grad_()
    model.zero_grad(set_to_none=True)
    z_of, hooks = with_gates(model, gates)
    result = model(tokens, output_attentions=True, use_cache=False)
    losses = F.cross_entropy(result.logits.flatten(0, 1), targets.flatten(), reduction="none")
    losses.mean().backward()
    for hook in hooks:
        hook.remove()
    p = torch.stack(result.attentions).detach()  # [L, B, NH, T, T]
    z = torch.stack([z_of[layer] for layer in range(len(z_of))])  # [L, B, T, NH, HS]
    found = {
        "logits": result.logits, "losses": losses.view_as(targets), "loss": losses.mean(),
        "dgates": gates.grad,
        "entropy": -torch.xlogy(p, p).sum(-1), "first": p[..., 0],
        "znorm": z.norm(dim=-1).transpose(2, 3),
        **{f"grad/{plain(n)}": x.grad for n, x in model.named_parameters()},
    }
    return {name: tensor.detach() for name, tensor in found.items()}


def train(model, tokens, targets):
    """AdamW over a cycle of fixed batches: losses and the norms before clipping."""
    matrices = [x for n, x in model.named_parameters() if x.dim() == 2 and "wpe" not in n]
    others = [x for n, x in model.named_parameters() if x.dim() != 2 or "wpe" in n]
    optimizer = torch.optim.AdamW(
        [dict(params=matrices, weight_decay=ADAMW["weight_decay"]),
         dict(params=others, weight_decay=0.0)],
        lr=ADAMW["lr"], betas=(ADAMW["beta1"], ADAMW["beta2"]), eps=ADAMW["eps"],
    )
    losses, norms = [], []
    for step in range(ADAMW["steps"]):
        batch = step % ADAMW["batches"]
        logits = model(tokens[batch], use_cache=False).logits
        loss = F.cross_entropy(logits.flatten(0, 1), targets[batch].flatten())
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), ADAMW["max_norm"]))
        optimizer.step()
        losses.append(loss.detach())
    return {"losses": torch.stack(losses), "norms": torch.stack(norms)}


def save(tensors, path):
    """Floats as f32 and whole numbers as i32, unless they already are what they should be."""
    ready = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach()
        if tensor.dtype == torch.float64:
            tensor = tensor.float()
        if tensor.dtype == torch.int64:
            tensor = tensor.int()
        ready[name] = tensor.contiguous()
    save_file(ready, path, metadata={"format": "pt"})


def save_directory(model, folder):
    """As transformers itself writes it."""
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def save_variant(model, folder, dtype):
    """The same checkpoint with every weight rounded to dtype; returns the model so rounded."""
    rounded = GPT2LMHeadModel(model.config).eval()
    rounded.load_state_dict({n: x.to(dtype).float() for n, x in model.state_dict().items()})
    half = GPT2LMHeadModel(model.config).to(dtype)
    half.load_state_dict({n: x.to(dtype) for n, x in model.state_dict().items()})
    save_directory(half, folder)
    return rounded


def save_shards(model, folder):
    """Two shards and their index, in the style of the first GPT-2 uploads: names have no
    `transformer.` prefix, and each layer's causal mask lies beside its weights."""
    folder.mkdir()
    model.config.save_pretrained(folder)
    weights = {plain(n): x for n, x in model.state_dict().items() if n != "lm_head.weight"}
    side = model.config.n_positions
    for layer in range(model.config.n_layer):
        weights[f"h.{layer}.attn.bias"] = torch.tril(torch.ones(1, 1, side, side))
    names = sorted(weights)
    halves = [names[: len(names) // 2], names[len(names) // 2:]]
    weight_map = {}
    for i, half in enumerate(halves):
        file = f"model-{i + 1:05}-of-00002.safetensors"
        save({n: weights[n] for n in half}, folder / file)
        weight_map |= {n: file for n in half}
    total = sum(x.numel() * x.element_size() for x in weights.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def relative_l2(actual, expected):
    return float((actual.double() - expected.double()).norm() / expected.double().norm())


def reference_of(sizes, seed, lengths):
    """Everything that is computed from one model, by name, and how far PyTorch's f32 is from it."""
    V, NH, L = sizes["vocab_size"], sizes["n_head"], sizes["n_layer"]
    model, exact = draw_model(sizes, seed), draw_model(sizes, seed).double()
    reference, rounding = {}, {}
    gates = 1 - torch.rand(L, NH, generator=torch.Generator().manual_seed(2))  # (0, 1]
    reference["gates"] = gates.float()
    for T in lengths:
        tokens, targets = tokens_of((B, T), V, T), tokens_of((B, T), V, 100 + T)
        reference |= {f"t{T}/tokens": tokens, f"t{T}/targets": targets}
        for kind, g in (("ones", torch.ones(L, NH)), ("gated", gates)):
            f64 = measure(exact, tokens, targets, g)
            f32 = measure(model, tokens, targets, g)
            reference |= {f"t{T}/{kind}/{n}": x for n, x in f64.items()}
            rounding[f"t{T}/{kind}"] = {
                "logits_max_abs": float((f32["logits"] - f64["logits"]).abs().max()),
                "loss_relative": relative_l2(f32["loss"], f64["loss"]),
                "worst_gradient_relative_l2": max(
                    relative_l2(f32[n], f64[n]) for n in f64 if n.startswith("grad/")),
                "dgates_relative_l2": relative_l2(f32["dgates"], f64["dgates"]),
                "entropy_max_abs": float((f32["entropy"] - f64["entropy"]).abs().max()),
            }
            if kind == "ones":
                bare = exact(tokens, use_cache=False).logits
                assert torch.equal(f64["logits"], bare), "gates of 1 must change nothing"

    shape = (ADAMW["batches"], B, lengths[0])
    tokens, targets = tokens_of(shape, V, 3), tokens_of(shape, V, 4)
    run = train(draw_model(sizes, seed).double(), tokens, targets)
    run32 = train(draw_model(sizes, seed), tokens, targets)
    rounding["adamw"] = {
        n: float(((run32[n] - run[n]) / run[n]).abs().max()) for n in ("losses", "norms")}
    reference |= {"adamw/tokens": tokens, "adamw/targets": targets}
    reference |= {f"adamw/{n}": x for n, x in run.items()}
    return reference, rounding


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()

    model = draw_model(SIZES, seed=1)
    save_directory(model, HERE / "tiny")
    reference, rounding = reference_of(SIZES, 1, (37, 29))
    save_directory(draw_model(EVEN_SIZES, seed=8), HERE / "even")
    even, even_rounding = reference_of(EVEN_SIZES, 8, (36,))
    rounding |= {f"even/{n}": x for n, x in even_rounding.items()}
    save(even, HERE / "even.safetensors")

    for name, dtype in (("f16", torch.float16), ("bf16", torch.bfloat16)):
        rounded = save_variant(model, HERE / f"tiny-{name}", dtype).double()
        reference[f"{name}/logits"] = rounded(reference["t29/tokens"], use_cache=False).logits
    save_shards(model, HERE / "tiny-sharded")

    untied = draw_model(UNTIED_SIZES, seed=5, tied=False)
    save_directory(untied, HERE / "untied")
    T, V = UNTIED_SIZES["n_positions"], UNTIED_SIZES["vocab_size"]
    tokens, targets = tokens_of((B, T), V, 6), tokens_of((B, T), V, 7)
    ones = torch.ones(UNTIED_SIZES["n_layer"], UNTIED_SIZES["n_head"])
    result = measure(untied.double(), tokens, targets, ones)
    reference |= {"untied/tokens": tokens, "untied/targets": targets}
    reference |= {f"untied/{n}": result[n]
                  for n in ("logits", "loss", "grad/lm_head.weight", "grad/wte.weight")}
    save(reference, HERE / "reference.safetensors")

    for x in rounding.values():
        for key, value in x.items():
            assert math.isfinite(value)
            x[key] = float(f"{value:.2g}")
    files = sorted(x for x in HERE.rglob("*") if x.is_file())
    manifest = {
        "magic": MAGIC,
        "hint": "made by tests/make_fixtures.py: run it again, as its first lines say",
        "versions": {
            "python": platform.python_version(), "torch": torch.__version__,
            "transformers": transformers.__version__, "safetensors": safetensors.__version__,
            "numpy": numpy.__version__,
        },
        "sizes": SIZES, "even_sizes": EVEN_SIZES, "untied_sizes": UNTIED_SIZES, "B": B, "adamw": ADAMW | {"T": SIZES["n_positions"]},
        "pytorch_f32_against_f64": rounding,
        "sha256": {str(x.relative_to(HERE)): hashlib.sha256(x.read_bytes()).hexdigest()
                   for x in files},
    }
    (HERE / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    print(f"{len(files) + 1} files, {sum(x.stat().st_size for x in files):,} bytes in {HERE}")


if __name__ == "__main__":
    main()
