"""Makes tests/older: model folders as older versions of transformers wrote them, and what they compute.

    python3 -m venv /tmp/venv
    /tmp/venv/bin/pip install torch==2.13.0 transformers==5.18.0 safetensors==0.8.0 numpy
    /tmp/venv/bin/python tests/make_older_fixtures.py

tokenizers.json holds folders in which a small GPT-2's tokenizer lies in various files, as versions of
transformers wrote them, and what AutoTokenizer makes of a text with each.

pruned_heads/ is what transformers 4 saved after `prune_heads`: transformers 5 can no longer read it, so
the reference is the whole model with the pruned heads' rows of `attn.c_proj` set to zero, in f64.
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

HERE = Path(__file__).resolve().parent / "older"
SIZES = dict(n_layer=3, n_head=3, n_embd=12, n_positions=16, vocab_size=40, n_inner=20)
TEXT = "cat <speaker1>the cat sat <speaker2> the caf\u00e9 [PAD] [PAD]cat<|endoftext|> sat\n[END] the  end <speaker1>\n"
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


def flags(content, **given):
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False} | given


def tokenizers():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([TEXT] * 3, trainers.BpeTrainer(
        vocab_size=275, special_tokens=["<|endoftext|>"], show_progress=False, initial_alphabet=alphabet))
    whole = json.loads(tokenizer.to_str())
    n, vocab = tokenizer.get_vocab_size(), whole["model"]["vocab"]
    later = {token: i - 1 for token, i in vocab.items() if i > 0}  # without <|endoftext|>
    merges = "#version: 0.2\n" + "".join(" ".join(pair) + "\n" for pair in whole["model"]["merges"])
    # file names of the two that are repeated in every folder: put in by who reads this
    older, last, new = {"vocab.json": "whole"}, {"vocab.json": "later"}, {"tokenizer.json": "whole"}
    spaced = {**whole, "pre_tokenizer": {**whole["pre_tokenizer"], "add_prefix_space": True}}
    gpt2 = {"tokenizer_class": "GPT2Tokenizer"}
    speakers = {"<speaker2>": n + 1, "<speaker1>": n}
    decoder = {str(i): flags(t, special=True) for t, i in {"<|endoftext|>": 0, **speakers}.items()}
    pad = {"pad_token": "[PAD]"}
    folders = {
        "the two files alone": older,
        "the two files without <|endoftext|>": last,
        "added_tokens.json": {**older, "added_tokens.json": speakers, "tokenizer_config.json": gpt2},
        "<|endoftext|> among the added": {**last, "added_tokens.json": {"<|endoftext|>": n - 1}},
        "added_tokens_decoder": {**older, "tokenizer_config.json": {**gpt2, "added_tokens_decoder": decoder}},
        "special_tokens_map.json": {
            **older, "added_tokens.json": {"<speaker1>": n, "[PAD]": n + 1},
            "special_tokens_map.json": {"pad_token": flags("[PAD]", lstrip=True), "eos_token": "<|endoftext|>",
                                        "additional_special_tokens": ["<speaker2>", "<speaker1>"]}},
        "special_tokens_map.json that is not looked at": {
            **older, "special_tokens_map.json": pad,
            "tokenizer_config.json": {**gpt2, "added_tokens_decoder": {"0": flags("<|endoftext|>", special=True)}}},
        "special tokens of tokenizer_config.json": {
            **older, "tokenizer_config.json": {
                **gpt2, "pad_token": {"__type": "AddedToken", **flags("[PAD]", lstrip=True)},
                "additional_special_tokens": ["<speaker1>"]}},
        "special tokens of both": {
            **older, "tokenizer_config.json": {"additional_special_tokens": ["<speaker1>"], "pad_token": "[END]"},
            "special_tokens_map.json": {"additional_special_tokens": ["<speaker2>"], "unk_token": "[PAD]",
                                        "pad_token": flags("[PAD]", lstrip=True)}},
        "other special tokens": {
            **last, "tokenizer_config.json": {**gpt2, **{f"{k}_token": "[END]" for k in ("bos", "eos", "unk")}}},
        "add_prefix_space": {**older, "tokenizer_config.json": {**gpt2, "add_prefix_space": True}},
        "add_prefix_space beside tokenizer.json": {**new, "tokenizer_config.json": {**gpt2, "add_prefix_space": True}},
        "no word of add_prefix_space": {"tokenizer.json": "spaced", "tokenizer_config.json": gpt2},
        "add_prefix_space of another class": {
            **new, "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "add_prefix_space": True}},
        "added_tokens.json beside tokenizer.json": {**new, "added_tokens.json": speakers},
        "special_tokens_map.json beside tokenizer.json": {**new, "special_tokens_map.json": {
            **pad, "additional_special_tokens": ["<speaker1>"]}},
        "pad_token beside tokenizer.json": {**new, "tokenizer_config.json": pad},
        "flags beside tokenizer.json": {**new, "tokenizer_config.json": {**gpt2, "added_tokens_decoder": {
            "0": flags("<|endoftext|>", special=True, lstrip=True, rstrip=True)}}},
    }
    config, cases = GPT2Config(**SIZES), []
    for name, files in folders.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            config.save_pretrained(path)
            for file, content in files.items():
                write(path / file, {"whole": whole if file == "tokenizer.json" else vocab, "later": later,
                                    "spaced": spaced}[content] if isinstance(content, str) else content)
            if "vocab.json" in files:
                (path / "merges.txt").write_text(merges, encoding="utf-8")
            read = AutoTokenizer.from_pretrained(path)
            ids = read.encode(TEXT, add_special_tokens=False)
            cases.append({"name": name, "files": files, "ids": ids, "eos": read.eos_token_id,
                          "text": read.decode(ids, clean_up_tokenization_spaces=False)})
    made = {"text": TEXT, "whole": whole, "later": later, "merges": merges, "cases": cases}
    text = json.dumps(made, ensure_ascii=False, separators=(",", ":"))
    (HERE / "tokenizers.json").write_text(text + "\n", encoding="utf-8")


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    for make in (pruned_heads,):
        folder = HERE / make.__name__
        folder.mkdir(parents=True)
        make(folder)
    tokenizers()


if __name__ == "__main__":
    main()
