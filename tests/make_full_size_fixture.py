"""Makes tests/full_size.safetensors: what PyTorch computes with a GPT-2 of 124M's exact shape.

    /tmp/venv/bin/python tests/make_full_size_fixture.py    (the venv of make_fixtures.py; 5 GB, 1 minute)

The weights are not stored: every number is a hash of its parameter's name and its place, which
tests/full_size.ts computes alike, bit for bit. Everything else is computed in f64 by transformers and
rounded to f32. Tensors that are too large to store are stored as a sketch: their elements, with signs
drawn by the same hash, are added into 64 buckets. A difference of two tensors keeps its L2 norm in
expectation, so a wrong element anywhere shows (Charikar, Chen and Farach-Colton 2002).
"""

import platform

import numpy
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel

from make_fixtures import ADAMW, HERE, measure, plain

B, T, V, BUCKETS = 2, 16, 50257, 64
# Where pieces of the vocabulary begin and end on the adapters we know, and some between.
COLUMNS = sorted({0, 1, 16383, 16384, 32767, 32768, 43647, 43648, 49151, 49152, 50255, 50256}
                 | set(range(977, V, 2503)))
# One layer of the same width reaches the last position.
LONG = dict(B=1, T=1024, V=512, L=1)


def mix(h):
    """MurmurHash3's finaliser, on an array of u32."""
    h = h.astype(numpy.uint32)
    h ^= h >> 16
    h *= numpy.uint32(0x85EBCA6B)
    h ^= h >> 13
    h *= numpy.uint32(0xC2B2AE35)
    h ^= h >> 16
    return h


def seed_of(name):
    """FNV-1a of the name."""
    h = 0x811C9DC5
    for byte in name.encode():
        h = (h ^ byte) * 0x01000193 % 2**32
    return h


def hashes(name, n):
    return mix(numpy.arange(n, dtype=numpy.uint32) * numpy.uint32(0x9E3779B9)
               + numpy.uint32(seed_of(name)))


def values_of(name, shape):
    """Uniform numbers of the standard deviation that makes attention far from uniform."""
    h = hashes(name, int(numpy.prod(shape)))
    u = (h >> 8).astype(numpy.float64) / 2**23 - 1
    if ".ln_" in f".{name}":
        u = u * 0.25 + (1.0 if name.endswith("weight") else 0.0)
    else:
        u = u * 0.0625
    return torch.from_numpy(u.astype(numpy.float32)).view(shape)


def integers_of(name, n, below):
    return torch.from_numpy((hashes(name, n) % numpy.uint32(below)).astype(numpy.int64))


def sketch(name, tensor):
    h = hashes(f"{name}/sketch", tensor.numel())
    signed = tensor.double().numpy().ravel() * numpy.where(h & 64, -1.0, 1.0)
    return torch.from_numpy(numpy.bincount(h % BUCKETS, weights=signed, minlength=BUCKETS))


def model_of(**sizes):
    config = GPT2Config(
        **sizes, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0, bos_token_id=0, eos_token_id=0,
        attn_implementation="eager")
    model = GPT2LMHeadModel(config).eval().double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(values_of(plain(name), parameter.shape))
    return model


def batch_of(name, B, T, V):
    return (integers_of(f"{name}/tokens", B * T, V).view(B, T),
            integers_of(f"{name}/targets", B * T, V).view(B, T))


def sketches(model, of):
    return {plain(n): sketch(plain(n), of(x)) for n, x in model.named_parameters()}


def full():
    model = model_of()
    assert model.config.vocab_size == V and sum(x.numel() for x in model.parameters()) == 124439808
    tokens, targets = batch_of("full", B, T, V)
    ones = torch.ones(model.config.n_layer, model.config.n_head)
    found = measure(model, tokens, targets, ones)
    out = {n: found[n] for n in ("loss", "losses", "dgates", "entropy", "first", "znorm")}
    out["logits"] = found["logits"][..., COLUMNS]
    for name, values in sketches(model, lambda x: x.grad).items():
        out[f"grad/{name}"] = values
        out[f"norm/{name}"] = found[f"grad/{name}"].norm()
    before = {n: x.detach().clone() for n, x in model.named_parameters()}
    matrices = [x for n, x in model.named_parameters() if x.dim() == 2 and "wpe" not in n]
    others = [x for n, x in model.named_parameters() if x.dim() != 2 or "wpe" in n]
    optimizer = torch.optim.AdamW(
        [dict(params=matrices, weight_decay=ADAMW["weight_decay"]),
         dict(params=others, weight_decay=0.0)],
        lr=ADAMW["lr"], betas=(ADAMW["beta1"], ADAMW["beta2"]), eps=ADAMW["eps"])
    out["grad_norm"] = torch.nn.utils.clip_grad_norm_(model.parameters(), ADAMW["max_norm"])
    optimizer.step()
    with torch.no_grad():
        logits = model(tokens, use_cache=False).logits
        out["loss_after"] = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        for name, parameter in model.named_parameters():
            change = parameter - before[name]
            out[f"change/{plain(name)}"] = sketch(plain(name), change)
    return out


def long():
    model = model_of(n_layer=LONG["L"], vocab_size=LONG["V"])
    tokens, targets = batch_of("long", LONG["B"], LONG["T"], LONG["V"])
    ones = torch.ones(LONG["L"], model.config.n_head)
    found = measure(model, tokens, targets, ones)
    out = {n: found[n] for n in ("loss", "losses", "dgates", "entropy", "first", "znorm")}
    out |= {f"grad/{n}": x for n, x in sketches(model, lambda x: x.grad).items()}
    return out


def main():
    torch.use_deterministic_algorithms(True)
    found = {"columns": torch.tensor(COLUMNS, dtype=torch.int32)}
    found |= {f"full/{n}": x for n, x in full().items()}
    found |= {f"long/{n}": x for n, x in long().items()}
    ready = {n: (x if x.dtype == torch.int32 else x.detach().float()).contiguous()
             for n, x in found.items()}
    path = HERE.parent / "full_size.safetensors"
    save_file(ready, path, metadata={
        "made by": "tests/make_full_size_fixture.py", "python": platform.python_version(),
        "torch": torch.__version__, "transformers": transformers.__version__})
    print({n: float(found[f"full/{n}"]) for n in ("loss", "loss_after", "grad_norm")},
          float(found["long/loss"]), "entropy", float(found["full/entropy"].mean()),
          f"{path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
