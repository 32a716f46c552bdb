// What decoding does otherwise than a pass over whole windows: one more token of each of B sequences, the queries of
// that token alone, and the keys and values of all tokens before it from a cache.
// cursors (B) begin with the place of a sequence's last token, which is the one that is read here.
// cache (B, S, 2A): k | v of each place of a layer, S places a sequence · qkv as in attention · A = NH * HS, in Vecs

// out[b] = wte[tokens[b, last]] + wpe[last]; rows whose token lies in [V0, V1), as in embedding. tokens (B, S), out (B, C)
//# entry embed
struct Params { B: u32, S: u32, C: u32, V0: u32, V1: u32 }
@group(0) @binding(0) var<storage, read> tokens: array<u32>;
@group(0) @binding(1) var<storage, read> cursors: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> wte: array<f32>;
@group(0) @binding(3) var<storage, read> wpe: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;
@compute @workgroup_size(64)
fn embed(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let i = (w.y * nw.x + w.x) * 64u + l;
  if (i >= p.B * p.C) { return; }
  let b = i / p.C;
  let c = i % p.C;
  let last = cursors[b].x;
  let token = tokens[b * p.S + last];
  if (token >= p.V0 && token < p.V1) { out[i] = wte[(token - p.V0) * p.C + c] + wpe[last * p.C + c]; }
}

// Keys and values of T tokens a sequence into the cache: of places 0 to T - 1, or (LAST) of the last token's, T = 1.
//# entry store
struct Params { B: u32, T: u32, S: u32, A: u32 }
@group(0) @binding(0) var<storage, read> qkv: array<Vec>;
//# if LAST
@group(0) @binding(1) var<storage, read> cursors: array<vec4<u32>>;
//# end
@group(0) @binding(2) var<storage, read_write> cache: array<Vec>;
@group(0) @binding(3) var<uniform> p: Params;
@compute @workgroup_size(64)
fn store(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let flat = (w.y * nw.x + w.x) * 64u + l;
  let i = flat % (2u * p.A);
  let row = flat / (2u * p.A);
  if (row >= p.B * p.T) { return; }
  let b = row / p.T;
//# if LAST
  let place = cursors[b].x;
//# else
  let place = row % p.T;
//# end
  cache[2u * (b * p.S + place) * p.A + i] = qkv[(3u * row + 1u) * p.A + i];
}

// scores[b, h, j] = q k_j / sqrt(HS) over places 0 to last; a thread a score. qkv (B, 3A), scores (B, NH, S)
//# entry score
struct Params { B: u32, S: u32, NH: u32, HV: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> qkv: array<Vec>;
@group(0) @binding(1) var<storage, read> cache: array<Vec>;
@group(0) @binding(2) var<storage, read> cursors: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
@compute @workgroup_size(64)
fn score(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let flat = (w.y * nw.x + w.x) * 64u + l;
  let j = flat % p.S;
  let h = (flat / p.S) % p.NH;
  let b = flat / (p.S * p.NH);
  if (b >= p.B || j > cursors[b].x) { return; }
  let query = (3u * b * p.NH + h) * p.HV;
  let key = (2u * (b * p.S + j) * p.NH + h) * p.HV;
  var sum = Vec(0.0);
  for (var i = 0u; i < p.HV; i++) { sum += qkv[query + i] * cache[key + i]; }
  scores[flat] = total(sum) * p.scale;
}

// zg[b] = gate sum_j softmax_j(scores) v_j, streamed as in attention; a thread a Vec of channels. zg (B, A)
//# entry blend
struct Params { B: u32, S: u32, NH: u32, HV: u32, head0: u32 }
@group(0) @binding(0) var<storage, read> scores: array<f32>;
@group(0) @binding(1) var<storage, read> cache: array<Vec>;
@group(0) @binding(2) var<storage, read> cursors: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> gates: array<f32>;
@group(0) @binding(4) var<storage, read_write> zg: array<Vec>;
@group(0) @binding(5) var<uniform> p: Params;
@compute @workgroup_size(64)
fn blend(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let flat = (w.y * nw.x + w.x) * 64u + l;
  let A = p.NH * p.HV;
  let b = flat / A;
  if (b >= p.B) { return; }
  let h = (flat % A) / p.HV;
  let row = (b * p.NH + h) * p.S;
  let values = 2u * b * p.S * A + A + flat % A;
  var top = LOWEST;
  var sum = 0.0;
  var z = Vec(0.0);
  for (var j = 0u; j <= cursors[b].x; j++) {
    let s = scores[row + j];
    let top_new = max(top, s);
    let shrink = exp(top - top_new);
    let e = exp(s - top_new);
    top = top_new;
    sum = sum * shrink + e;
    z = z * shrink + e * cache[values + 2u * j * A];
  }
  zg[flat] = gates[p.head0 + h] * z / sum;
}
