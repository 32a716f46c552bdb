"""Makes tests/greedy.json: what transformers writes greedily with the models of tests/fixtures, and
with those of make_full_size_fixture.py.

    python3 -m venv /tmp/venv
    /tmp/venv/bin/pip install torch==2.13.0 transformers==5.18.0 safetensors==0.8.0 numpy
    /tmp/venv/bin/python tests/make_greedy_fixture.py

The larger two need 2 GiB and a minute. In f64, with and without a repetition penalty. A continuation is kept up to the first token that the
runner-up comes near, because there rounding may decide; every case must keep most of its tokens.
"""

import json
from pathlib import Path

import torch
from transformers import GPT2LMHeadModel

from make_full_size_fixture import LONG, integers_of, model_of

HERE = Path(__file__).resolve().parent
PROMPTS = {"tiny": (1, 5, 17), "even": (2, 9), "untied": (3,)}
PENALTIES = (1.0, 1.3, 0.7)
NEW = 20
NEAR = 1e-3  # of logits between -3 and 3, which f32 gives to about 1e-6


def written(model, prompt, penalty, new=NEW, least=10):
    room = model.config.n_positions - len(prompt)
    tokens = torch.tensor([prompt])
    out = model.generate(
        # without a mask, what happens to be the padding token would be left out of attention
        tokens, attention_mask=torch.ones_like(tokens), do_sample=False,
        max_new_tokens=min(new, room), eos_token_id=None, pad_token_id=0,
        repetition_penalty=penalty, output_scores=True, return_dict_in_generate=True,
    )
    tokens = out.sequences[0].tolist()[len(prompt):]
    sure = 0
    for score in out.scores:
        first, second = score[0].topk(2).values.tolist()
        if first - second < NEAR:
            break
        sure += 1
    assert sure >= least, f"only {sure} tokens are beyond doubt"
    return tokens[:sure]


def main():
    torch.set_num_threads(1)
    cases = []
    for name, lengths in PROMPTS.items():
        model = GPT2LMHeadModel.from_pretrained(HERE / "fixtures" / name).double().eval()
        generator = torch.Generator().manual_seed(11)
        for length in lengths:
            prompt = torch.randint(0, model.config.vocab_size, (length,), generator=generator).tolist()
            for penalty in PENALTIES:
                cases.append({"model": name, "repetition_penalty": penalty, "prompt": prompt,
                              "tokens": written(model, prompt, penalty)})
    # prompts by their length: integers_of("full/tokens", ...) are the same there and here
    full = model_of()
    prompt = integers_of("full/tokens", 16, full.config.vocab_size).tolist()
    cases.append({"model": "full", "repetition_penalty": 1.1, "prompt_length": len(prompt),
                  "tokens": written(full, prompt, 1.1, new=6, least=4)})
    long = model_of(n_layer=LONG["L"], vocab_size=LONG["V"])
    prompt = integers_of("long/tokens", 1000, LONG["V"]).tolist()
    cases.append({"model": "long", "repetition_penalty": 1.2, "prompt_length": len(prompt),
                  "tokens": written(long, prompt, 1.2, new=24)})
    (HERE / "greedy.json").write_text(json.dumps(cases, indent=2) + "\n")  # then: deno fmt
    print(f"{len(cases)} continuations, {sum(len(case['tokens']) for case in cases)} tokens")


if __name__ == "__main__":
    main()
