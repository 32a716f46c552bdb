// Sampling: the next token of every sequence, chosen and appended on the device, so that nothing waits for the host.
//   weight[v] = exp((logits[v] - max) / temperature)
// Every choice is a prefix of one order: the largest logit first, equal logits by ascending id.
//   top-k   the first k tokens
//   top-p   the shortest prefix of those with at least p of their weight (Holtzman et al. 2020), one token at least
//   draw    the last token of the shortest prefix of those with at least u of their weight, u uniform on (0, 1]
// That is transformers' order (temperature, top-k, top-p); at the k-th place transformers keeps all that are equal,
// here the lowest ids stay. Greedy is top-k with k = 1.
// Nothing is sorted. A search finds the last token of a prefix digit by digit, as a radix sort would: the key is the
// integer that orders as the logit does, then the id, counted from the end; `tally` gathers how many tokens, of which
// weight, continue the digits found so far with each of 256 values, and `narrow` takes the one where the prefix ends.
// No barriers, no loop over the vocabulary (old llvmpipe ends all loops of a thread after 65,535 rounds), and weights
// are summed as integers: the sum is exact, the same in any order, and can only grow with the set.
// logits (B, stride), of which the first `candidates` <= V columns are looked at · tokens (B, T)
// cursors (B): place of a sequence's last token, place where it ends, 1 if its logits were not finite, its stream
// tops (B), bins (B, 256), searches (B): scratch, tops and bins all zeros at the beginning and left so
// u is a hash of (seed, stream, place of the new token): pcg4d, Jarzynski and Olano 2020, JCGT 9(3).

struct Settings {
  seed_low: u32, seed_high: u32, stop: u32, candidates: u32,
  top_k: u32, top_p: f32, inverse_temperature: f32, penalty: f32,
}
// Digits found so far; what lies above them: tokens and weight; where the prefix ends; weight of the last prefix.
struct Search { key: u32, rest: u32, count: u32, high: u32, low: u32, wanted: f32, mass: f32 }

const INFINITE = 0xff800000u; // the key of +inf; NaN's is above, -inf's is its complement
fn key_of(logit: f32) -> u32 {
  let bits = bitcast<u32>(select(logit, 0.0, logit == 0.0)); // -0 equals 0
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return 0xffffffffu; }
  return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn logit_of(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key & 0x7fffffffu, (key >> 31u) == 1u));
}

// out[b] = inp[b, last[b]]: the only rows whose logits matter. inp (B, T, C) · out (B, C)
//# entry gather
struct Params { B: u32, T: u32, C: u32 }
@group(0) @binding(0) var<storage, read> inp: array<f32>;
@group(0) @binding(1) var<storage, read> cursors: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;
@compute @workgroup_size(64)
fn gather(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let i = (w.y * nw.x + w.x) * 64u + l;
  if (i >= p.B * p.C) { return; }
  let b = i / p.C;
  out[i] = inp[(b * p.T + cursors[b].x) * p.C + i % p.C];
}

// logits[b, v] /= penalty where positive, *= penalty where negative, for every token v among the first last + 1 of a
// sequence: Keskar et al. 2019, section 4.1, as transformers does it.
// A thread a place; a token that stands at several is taken once, at its first.
//# entry penalise
struct Params { B: u32, T: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> tokens: array<u32>;
@group(0) @binding(1) var<storage, read> cursors: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> settings: Settings;
@group(0) @binding(3) var<storage, read_write> logits: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
@compute @workgroup_size(64)
fn penalise(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let flat = (w.y * nw.x + w.x) * 64u + l;
  let b = flat / p.T;
  let place = flat % p.T;
  if (b >= p.B || place > cursors[b].x) { return; }
  let token = tokens[flat];
  for (var j = 0u; j < place; j++) {
    if (tokens[b * p.T + j] == token) { return; }
  }
  let at = b * p.stride + token;
  let logit = logits[at];
  logits[at] = select(logit / settings.penalty, logit * settings.penalty, logit < 0.0);
}

// logits[b, v] = -1e30 for every number v that no token has: less than any logit, and of no weight.
// A thread a number of a sequence.
//# entry ban
struct Params { B: u32, N: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> holes: array<u32>;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
@compute @workgroup_size(64)
fn ban(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let i = (w.y * nw.x + w.x) * 64u + l;
  if (i >= p.B * p.N) { return; }
  logits[(i / p.N) * p.stride + holes[i % p.N]] = -1e30;
}

// tops[b] = largest key; a thread a logit.
//# entry highest
struct Params { B: u32, V: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> settings: Settings;
@group(0) @binding(2) var<storage, read_write> tops: array<atomic<u32>>;
@group(0) @binding(3) var<uniform> p: Params;
@compute @workgroup_size(64)
fn highest(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let i = (w.y * nw.x + w.x) * 64u + l;
  let b = i / p.V;
  let v = i % p.V;
  if (b >= p.B || v >= settings.candidates) { return; }
  atomicMax(&tops[b], key_of(logits[b * p.stride + v]));
}

// One digit's histogram: tokens, and their weight in units of 2^-15 and 2^-30; a thread a logit.
// The masks select the digits that are already found.
//# entry tally
struct Params { B: u32, V: u32, stride: u32, by_key: u32, shift: u32, key_mask: u32, rest_mask: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> settings: Settings;
@group(0) @binding(2) var<storage, read> tops: array<u32>;
@group(0) @binding(3) var<storage, read> searches: array<Search>;
@group(0) @binding(4) var<storage, read_write> bins: array<atomic<u32>>;
@group(0) @binding(5) var<uniform> p: Params;
@compute @workgroup_size(64)
fn tally(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let i = (w.y * nw.x + w.x) * 64u + l;
  let b = i / p.V;
  let v = i % p.V;
  if (b >= p.B || v >= settings.candidates) { return; }
  let logit = logits[b * p.stride + v];
  let key = key_of(logit);
  let rest = ~v;
  if (((key ^ searches[b].key) & p.key_mask) != 0u || ((rest ^ searches[b].rest) & p.rest_mask) != 0u) { return; }
  let at = 4u * (256u * b + ((select(rest, key, p.by_key == 1u) >> p.shift) & 255u));
  let weight = exp(max((logit - logit_of(tops[b])) * settings.inverse_temperature, -200.0));
  let units = u32(min(weight, 1.0) * 1073741824.0 + 0.5);
  atomicAdd(&bins[at], 1u);
  atomicAdd(&bins[at + 1u], units >> 15u);
  atomicAdd(&bins[at + 2u], units & 32767u);
}

// Takes one digit from the histogram, and empties it; a thread a sequence. KIND 0 is top-k, 1 top-p, 2 the draw.
// START: the search's first digit. FULL: the search is the first, over all tokens. END: its last digit.
// FINISH: the last digit of the last search, which is the chosen token.
//# entry narrow
struct Params { B: u32, T: u32, by_key: u32, shift: u32 }
@group(0) @binding(0) var<storage, read_write> bins: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> searches: array<Search>;
//# if START || FINISH
@group(0) @binding(2) var<storage, read> settings: Settings;
//# end
//# if START && KIND == 2 || FINISH
@group(0) @binding(3) var<storage, read_write> cursors: array<vec4<u32>>;
//# end
//# if FINISH
@group(0) @binding(4) var<storage, read_write> tops: array<u32>;
@group(0) @binding(5) var<storage, read_write> tokens: array<u32>;
//# end
@group(0) @binding(6) var<uniform> p: Params;

fn mass_of(sums: vec4<u32>) -> f32 { return f32(sums.y) / 32768.0 + f32(sums.z) / 1073741824.0; }

//# if START && KIND == 2
fn uniform_number(stream: u32, place: u32) -> f32 {
  var v = vec4<u32>(settings.seed_low, settings.seed_high, stream, place) * 1664525u + 1013904223u;
//# for round in 0..2
  v.x += v.y * v.w;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v.w += v.y * v.z;
//# if round == 0
  v = v ^ (v >> vec4<u32>(16u));
//# end
//# end
  return f32((v.x >> 8u) + 1u) / 16777216.0;
}
//# end

@compute @workgroup_size(64)
fn narrow(@builtin(global_invocation_id) id: vec3<u32>) {
  let b = id.x;
  if (b >= p.B) { return; }
  var s = searches[b];
//# if START
  s = Search(0u, 0u, 0u, 0u, 0u, 0.0, s.mass);
//# if FULL
  var all = vec4<u32>(0u);
  for (var bin = 0u; bin < 256u; bin++) { all += bins[256u * b + bin]; }
  s.mass = mass_of(all);
//# end
//# if KIND == 0
  s.wanted = f32(min(settings.top_k, settings.candidates));
//# end
//# if KIND == 1
  s.wanted = settings.top_p * s.mass;
//# end
//# if KIND == 2
  s.wanted = uniform_number(cursors[b].w, cursors[b].x + 1u) * s.mass;
//# end
//# end
  var above = vec4<u32>(s.count, s.high, s.low, 0u);
  var through = above;
  var digit = 0u;
  var found = false;
  for (var i = 0u; i < 256u; i++) {
    let bin = bins[256u * b + 255u - i];
    bins[256u * b + 255u - i] = vec4<u32>(0u);
    if (!found && bin.x > 0u) {
      above = through;
      through += bin;
      digit = 255u - i;
//# if KIND == 0
      found = f32(through.x) >= s.wanted;
//# else
      found = mass_of(through) >= s.wanted;
//# end
    }
  }
  if (p.by_key == 1u) { s.key |= digit << p.shift; } else { s.rest |= digit << p.shift; }
  s.count = above.x;
  s.high = above.y;
  s.low = above.z;
//# if END
  s.mass = mass_of(through);
//# end
  searches[b] = s;
//# if FINISH
  let top = tops[b];
  tops[b] = 0u;
  let cursor = cursors[b];
  if (cursor.x >= cursor.y) { return; }
  if (top >= INFINITE || top <= ~INFINITE) {
    cursors[b] = vec4<u32>(cursor.x, cursor.x, 1u, cursor.w);
    return;
  }
  let token = $(RESTS)u - s.rest;
  let place = cursor.x + 1u;
  tokens[b * p.T + place] = token;
  cursors[b] = vec4<u32>(place, select(cursor.y, place, token == settings.stop), 0u, cursor.w);
//# end
}
