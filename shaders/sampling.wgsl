// Sampling: the next token of every sequence, chosen and appended on the device, so that nothing waits for the host.
//   weight[v] = exp((logits[v] - max) / temperature)
// Every choice is a prefix of one order: the largest logit first, equal logits by ascending id.
//   top-k   the first k tokens
//   top-p   the shortest prefix of those with at least p of their weight (Holtzman et al. 2020)
//   draw    the last token of the shortest prefix of those with at least u of their weight, u uniform on (0, 1]
// That is transformers' order (temperature, top-k, top-p); at the k-th place transformers keeps all that are equal,
// here the lowest ids stay. Greedy is k = 1. Nothing is sorted: a prefix ends at a key, the integer that orders as its
// logit does, and after some of the tokens with this key. The key is found by bisection; sums are in a fixed order and
// only grow with the set, so rounding cannot lead out of a prefix.
// logits (B, stride), of which the first `candidates` columns are looked at · tokens (B, T)
// cursors (B): place of a sequence's last token, place where it ends, 1 if its logits were not finite
// u is a hash of (seed, sequence, place of the new token): pcg4d, Jarzynski and Olano 2020, JCGT 9(3).

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

// LANES threads a sequence.
//# entry next
struct Params { B: u32, T: u32, stride: u32 }
struct Settings {
  seed_low: u32, seed_high: u32, stop: u32, candidates: u32,
  top_k: u32, top_p: f32, inverse_temperature: f32,
}
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> settings: Settings;
@group(0) @binding(2) var<storage, read_write> cursors: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(4) var<uniform> p: Params;

const INFINITE = 0xff800000u; // the key of +inf; NaN's is above
const EVERY = 0xffffffffu; // no bound on keys or ids
fn key_of(logit: f32) -> u32 {
  let bits = bitcast<u32>(select(logit, 0.0, logit == 0.0)); // -0 equals 0
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return 0xffffffffu; }
  return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn logit_of(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key & 0x7fffffffu, (key >> 31u) == 1u));
}

struct Row { at: u32, lane: u32, group: u32, top: f32 }
// The tokens above `key`, and the first `ties` of those at it.
struct Prefix { key: u32, ties: u32, mass: f32 }

fn weight(row: Row, logit: f32) -> f32 {
  return exp(max((logit - row.top) * settings.inverse_temperature, -200.0));
}
// Weight of the tokens whose key is at least `least`.
fn mass(row: Row, least: u32) -> f32 {
  var sum = 0.0;
  for (var v = row.lane; v < settings.candidates; v += $(LANES)u) {
    let logit = logits[row.at + v];
    sum += select(0.0, weight(row, logit), key_of(logit) >= least);
  }
  return lanes_sum(sum, row.lane, row.group);
}
// Number of tokens whose key is in [least, most] and whose id is at most `last`.
fn count(row: Row, least: u32, most: u32, last: u32) -> u32 {
  var sum = 0.0;
  for (var v = row.lane; v < settings.candidates; v += $(LANES)u) {
    let key = key_of(logits[row.at + v]);
    sum += select(0.0, 1.0, key >= least && key <= most && v <= last);
  }
  return u32(lanes_sum(sum, row.lane, row.group));
}
fn prefix(row: Row, key: u32, ties: u32, above: f32) -> Prefix {
  return Prefix(key, ties, min(above + f32(ties) * weight(row, logit_of(key)), mass(row, key)));
}
// The first k tokens.
fn first(row: Row, k: u32) -> Prefix {
  var low = 0u;
  var high = key_of(row.top) + 1u;
  for (var step = 0u; step < 32u; step++) {
    let middle = low + (high - low) / 2u;
    if (count(row, middle, EVERY, EVERY) >= k) { low = middle; } else { high = middle; }
  }
  let ties = k - count(row, low + 1u, EVERY, EVERY);
  return prefix(row, low, ties, mass(row, low + 1u));
}
// The shortest prefix of `within` that weighs at least `wanted`, which is at most what `within` weighs.
fn reach(row: Row, wanted: f32, within: Prefix) -> Prefix {
  var low = within.key;
  var high = key_of(row.top) + 1u;
  for (var step = 0u; step < 32u; step++) {
    let middle = low + (high - low) / 2u;
    if (mass(row, middle) >= wanted) { low = middle; } else { high = middle; }
  }
  let above = mass(row, low + 1u);
  let most = select(count(row, low, low, EVERY), within.ties, low == within.key);
  let ties = clamp(ceil((wanted - above) / weight(row, logit_of(low))), 1.0, f32(most));
  return prefix(row, low, u32(ties), above);
}

fn uniform_number(sequence: u32, place: u32) -> f32 {
  var v = vec4<u32>(settings.seed_low, settings.seed_high, sequence, place) * 1664525u + 1013904223u;
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

@compute @workgroup_size($LANES, $GROUPS)
fn next(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_id) l: vec3<u32>) {
  let wanted = (w.y * nw.x + w.x) * $(GROUPS)u + l.y;
  let b = min(wanted, p.B - 1u);
  let cursor = cursors[b];
  let place = cursor.x + 1u;
  let at = b * p.stride;
  var top = LOWEST;
  var bad = 0.0;
  for (var v = l.x; v < settings.candidates; v += $(LANES)u) {
    let logit = logits[at + v];
    top = max(top, logit);
    bad = max(bad, select(0.0, 1.0, key_of(logit) >= INFINITE));
  }
  top = lanes_max(top, l.x, l.y);
  bad = lanes_max(bad, l.x, l.y);
  let row = Row(at, l.x, l.y, top);
  var chosen = Prefix(key_of(top), 1u, 1.0);
  if (settings.top_k != 1u) {
    var kept = Prefix(0u, settings.candidates, mass(row, 0u));
    if (settings.top_k < settings.candidates) { kept = first(row, settings.top_k); }
    if (settings.top_p < 1.0) { kept = reach(row, settings.top_p * kept.mass, kept); }
    chosen = reach(row, uniform_number(b, place) * kept.mass, kept);
  }
  // the id of the chosen one among equals: the lowest up to which there are `ties` of them
  var low = 0u;
  var high = settings.candidates - 1u;
  for (var left = settings.candidates; left > 0u; left = left / 2u) {
    let middle = (low + high) / 2u;
    if (count(row, chosen.key, chosen.key, middle) >= chosen.ties) { high = middle; } else { low = min(middle + 1u, high); }
  }
  if (wanted >= p.B || l.x != 0u || cursor.x >= cursor.y) { return; }
  if (bad != 0.0 || top == LOWEST) {
    cursors[b] = vec4<u32>(cursor.x, cursor.x, 1u, 0u);
    return;
  }
  tokens[b * p.T + place] = high;
  cursors[b] = vec4<u32>(place, select(cursor.y, place, high == settings.stop), 0u, 0u);
}
