"""Makes tests/fixtures/tokenizers.json: small tokenizers of every kind, and what Python's tokenizers computes with them.

Needs Python with tokenizers 0.23.2:  python tests/make_tokenizer_kinds_fixture.py
"""
import json
import os

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import __version__ as version

ENGLISH = "the cat sat on the mat and the dog barked at the cat. " * 12
GERMAN = "Die Prüfung über Käse ist schön und größer. " * 12
GREEK = "ο λογος και ο κοσμος του λογου " * 12
MARKED = "▁the▁cat▁sat " * 4
LEARNT = [ENGLISH, GERMAN, GREEK, MARKED]
TEXTS = [
    "the cat sat on the mat. The Cat! sat:tZhe zebra",
    "Die Prüfung über Käse, größer; ΛΟΓΟΣ ο λογος",
    "a zap zapping <zap> zap.",
    "  two  spaces\t\ttabs\r\n\n lines \n",
    "it's 12 don't 3½ x² １２ naïve cafe\u0301 ﬁne",
    "\ufeffbom\u0085next\u2028line\u00a0space\u200bnone\u3000wide",
    "鯨 白鯨 \U0001f40b\U0001f468\u200d\U0001f469 \U0001d54f", "<|endoftext|>the<|endoftext|> cat <|EndOfText|>",
    "▁the▁cat", "İstanbul ǅ ß \u1e9e ΑΣ ΑΣΑ", "\u0000\u0007\ufffd\ue000", "a", " ", "",
]
N, P, D = normalizers, pre_tokenizers, decoders
SPECIAL = ["[UNK]", "<|endoftext|>"]
FULL = P.ByteLevel.alphabet()


def bpe(pre=None, norm=None, dec=None, size=220, texts=LEARNT, alphabet=(), trained=None, **options):
    options = {"unk_token": "[UNK]", **options}
    t = Tokenizer(models.BPE(**options))
    t.pre_tokenizer = pre or P.Whitespace()
    if norm:
        t.normalizer = norm
    if dec:
        t.decoder = dec
    t.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIAL, show_progress=False, initial_alphabet=list(alphabet), **(trained or {})))
    return t


def gpt2(pre=None, norm=None, dec=None, alphabet=FULL, size=320, **options):
    return bpe(pre or P.ByteLevel(add_prefix_space=False), norm, dec or D.ByteLevel(), size, alphabet=alphabet, **{"unk_token": None, **options})


def unigram(pre=None, norm=None, dec=None, **options):
    t = Tokenizer(models.Unigram())
    t.pre_tokenizer = pre or P.Metaspace()
    t.decoder = dec or D.Metaspace()
    if norm:
        t.normalizer = norm
    t.train_from_iterator(LEARNT, trainers.UnigramTrainer(vocab_size=120, special_tokens=["<unk>", "<|endoftext|>"], unk_token="<unk>", show_progress=False))
    return changed(t, lambda j: j["model"].update(options))


def words(pre=None, unk="[UNK]"):
    t = Tokenizer(models.WordLevel(unk_token=unk))
    t.pre_tokenizer = pre or P.WhitespaceSplit()
    t.train_from_iterator([ENGLISH], trainers.WordLevelTrainer(special_tokens=["<pad>", *SPECIAL], show_progress=False))
    return t


def wordpiece(norm=None, dec=None, **options):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", **options))
    t.pre_tokenizer = P.BertPreTokenizer()
    t.normalizer = norm or N.BertNormalizer()
    t.decoder = dec or D.WordPiece()
    t.train_from_iterator(LEARNT, trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL, show_progress=False))
    return t


def changed(t, change):
    j = json.loads(t.to_str())
    change(j)
    return Tokenizer.from_str(json.dumps(j))


def with_tokens(t, *tokens):
    t.add_tokens([token if isinstance(token, AddedToken) else AddedToken(token) for token in tokens])
    return t


def with_hole(t):
    def move(j):
        vocab = j["model"]["vocab"]
        last = max(vocab, key=vocab.get)
        vocab[last] += 7
    return changed(t, move)


def byte_fallback():
    def add(j):
        vocab = j["model"]["vocab"]
        for byte in range(256):
            vocab.setdefault(f"<0x{byte:02X}>", len(vocab))
    t = bpe(P.Metaspace(), texts=[ENGLISH], byte_fallback=True, fuse_unk=True)
    t.decoder = D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)])
    return changed(t, add)


GPT4 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
KINDS = {
    "GPT-2": lambda: gpt2(),
    "GPT-2, added tokens": lambda: with_tokens(gpt2(), "zap", "<zap>"),
    "GPT-2, a hole in the numbers": lambda: with_hole(gpt2()),
    "ByteLevel, add_prefix_space": lambda: gpt2(P.ByteLevel(add_prefix_space=True)),
    "ByteLevel, use_regex false": lambda: gpt2(P.ByteLevel(add_prefix_space=False, use_regex=False)),
    "ByteLevel, bytes missing": lambda: gpt2(alphabet=[], size=70),
    "ByteLevel, single_word": lambda: with_tokens(gpt2(), AddedToken("zap", single_word=True)),
    "ByteLevel, lstrip and rstrip": lambda: with_tokens(gpt2(), AddedToken("<zap>", lstrip=True, rstrip=True)),
    "ByteLevel, normalized tokens": lambda: with_tokens(gpt2(norm=N.Lowercase()), AddedToken("<|ENDOFTEXT|>", normalized=True)),
    "ByteLevel, ignore_merges": lambda: gpt2(ignore_merges=True),
    "Split and ByteLevel, as GPT-4": lambda: gpt2(P.Sequence([P.Split(Regex(GPT4), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)])),
    "Digits and ByteLevel": lambda: gpt2(P.Sequence([P.Digits(individual_digits=True), P.ByteLevel(add_prefix_space=False)])),
    "Lowercase": lambda: gpt2(norm=N.Lowercase()),
    "NFC": lambda: gpt2(norm=N.NFC()),
    "NFD and StripAccents": lambda: gpt2(norm=N.Sequence([N.NFD(), N.StripAccents()])),
    "NFKC": lambda: gpt2(norm=N.NFKC()),
    "NFKD": lambda: gpt2(norm=N.NFKD()),
    "Nmt": lambda: gpt2(norm=N.Nmt()),
    "Strip": lambda: gpt2(norm=N.Strip()),
    "Replace": lambda: gpt2(norm=N.Replace(Regex(" {2,}"), " ")),
    "Prepend": lambda: gpt2(norm=N.Prepend("▁")),
    "ByteLevel normaliser": lambda: bpe(P.Split(Regex("Ġ?[a-z]+"), "isolated"), N.ByteLevel(), D.ByteLevel(), 320, alphabet=FULL),
    "Whitespace": lambda: bpe(P.Whitespace()),
    "WhitespaceSplit": lambda: bpe(P.WhitespaceSplit()),
    "Punctuation": lambda: bpe(P.Sequence([P.WhitespaceSplit(), P.Punctuation("merged_with_next")])),
    "CharDelimiterSplit": lambda: bpe(P.CharDelimiterSplit("t")),
    "UnicodeScripts": lambda: bpe(P.UnicodeScripts()),
    "no unk_token": lambda: bpe(unk_token=None, texts=[ENGLISH]),
    "fuse_unk": lambda: bpe(fuse_unk=True, texts=[ENGLISH]),
    "continuing_subword_prefix": lambda: bpe(continuing_subword_prefix="##", trained={"continuing_subword_prefix": "##"}),
    "end_of_word_suffix": lambda: bpe(dec=D.BPEDecoder(), end_of_word_suffix="</w>", trained={"end_of_word_suffix": "</w>"}),
    "byte_fallback, as Llama": byte_fallback,
    "CTC decoder": lambda: bpe(P.WhitespaceSplit(), dec=D.CTC()),
    "WordLevel": lambda: words(),
    "WordLevel, Whitespace": lambda: words(P.Whitespace()),
    "WordPiece, as BERT": lambda: wordpiece(),
    "WordPiece, cased": lambda: wordpiece(N.BertNormalizer(lowercase=False, handle_chinese_chars=False), D.WordPiece(cleanup=False)),
    "WordPiece, short words": lambda: wordpiece(max_input_chars_per_word=4),
    "Unigram": lambda: unigram(),
    "Unigram, prepend first": lambda: unigram(P.Metaspace(prepend_scheme="first"), dec=D.Metaspace(prepend_scheme="first")),
    "Unigram, prepend never": lambda: unigram(P.Metaspace(prepend_scheme="never"), dec=D.Metaspace(prepend_scheme="never")),
    "Unigram, not split": lambda: unigram(P.Metaspace(split=False)),
    "Unigram, as T5": lambda: unigram(P.Sequence([P.WhitespaceSplit(), P.Metaspace()]), N.Sequence([N.Nmt(), N.NFKC(), N.Replace(Regex(" {2,}"), " ")])),
    "TemplateProcessing, truncation and padding are not applied": lambda: limited(),
}
for behaviour in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]:
    for pattern in [" ", Regex("t+")]:
        for invert in [False, True]:
            name = f"Split, {behaviour}, {'String' if pattern == ' ' else 'Regex'}{', inverted' if invert else ''}"
            KINDS[name] = lambda b=behaviour, p=pattern, i=invert: bpe(P.Split(p, b, i))


def limited():
    t = gpt2()
    t.post_processor = processors.TemplateProcessing(single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 1)])
    t.enable_truncation(3)
    t.enable_padding(length=8)
    return t


def computed(name, make):
    t = make()
    stored = t.to_str()
    t.no_truncation()
    t.no_padding()
    ids = [t.encode(text, add_special_tokens=False).ids for text in TEXTS]
    decoded = [t.decode(of, skip_special_tokens=False) for of in ids]
    size = max(t.get_vocab().values()) + 1
    every = list(range(0, size + 3, 3))
    return {"name": name, "json": json.loads(stored), "ids": ids, "decoded": decoded, "every": every, "all": t.decode(every, skip_special_tokens=False)}


assert version == "0.23.2", version
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures", "tokenizers.json")
with open(path, "w", encoding="utf-8") as file:
    json.dump({"made_with": f"tokenizers {version} of Python", "texts": TEXTS, "kinds": [computed(*kind) for kind in KINDS.items()]}, file, ensure_ascii=False, separators=(",", ":"))
print(len(KINDS), "tokenizers,", os.path.getsize(path), "bytes")
