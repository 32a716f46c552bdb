// Causal gated attention, streamed: T x T probabilities never exist.
//   s_ij = q_i . k_j / sqrt(HS), j <= i     p_ij = softmax_j(s_ij)     z_i = sum_j p_ij v_j     zg_i = gate z_i
// after Milakov and Gimelshein 2018 (online softmax) and Dao et al. 2022 (backward recomputes p from lse).
// qkv, dqkv (B*T, 3*A): q | k | v, head h at column h*HS of each · z, zg, dzg (B*T, A) · A = NH * HS, in Vecs
// gates (all live heads; this layer's begin at head0) · one row of one head is row_of(b, h, t) of:
// stats (heads, B, T) as vec4: lse, entropy in nats, weight on the first key, L2 norm of z
// rowdot (heads, B, T): sum_d dzg z, whose sum over t is the gate's gradient, exact at gate 0 too.
// A thread holds TQ neighbouring queries (or keys), so that each key (query) it loads serves TQ times.
// Entropy needs one more accumulator: H = -sum p ln p = lse - sum p s.

struct Params { B: u32, T: u32, NH: u32, A: u32, head0: u32, scale: f32 }
//# if VEC == 4
fn along(a: Vec, b: Vec) -> f32 { return dot(a, b); }
//# else
fn along(a: Vec, b: Vec) -> f32 { return a * b; }
//# end
// BY_HEAD: neighbouring threads take neighbouring heads of one tile, so that they loop equally long (software
// adapters run threads in lockstep); otherwise neighbouring tiles of one head, so that they load the same keys.
struct Place { b: u32, h: u32, tile: u32, valid: bool }
fn place(flat: u32, p: Params) -> Place {
  let tiles = (p.T + $(TQ - 1)u) / $(TQ)u;
  let teams = p.B * p.NH;
//# if BY_HEAD
  let team = flat % teams;
  let tile = flat / teams;
//# else
  let team = flat / tiles;
  let tile = flat % tiles;
//# end
  return Place(team / p.NH, team % p.NH, tile, flat < teams * tiles);
}

// TEXELS: what is read once for every pair of positions is read from textures (src/gpu/texels.ts).
//# if TEXELS
@group(0) @binding(0) var qkv: texture_storage_2d<rgba32float, read>;
fn qkv_at(i: u32) -> Vec { return textureLoad(qkv, texel(i)); }
//# else
@group(0) @binding(0) var<storage, read> qkv: array<Vec>;
fn qkv_at(i: u32) -> Vec { return qkv[i]; }
//# end

//# entry forward
@group(0) @binding(1) var<storage, read> gates: array<f32>;
@group(0) @binding(2) var<storage, read_write> z: array<Vec>;
@group(0) @binding(3) var<storage, read_write> zg: array<Vec>;
@group(0) @binding(4) var<storage, read_write> stats: array<vec4<f32>>;
@group(0) @binding(5) var<uniform> p: Params;
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let at = place((w.y * nw.x + w.x) * 64u + l, p);
  if (!at.valid) { return; }
  let t0 = at.tile * $(TQ)u;
  let head = at.h * $(HV)u;
//# for q in 0..TQ
  let t_$q = min(t0 + $(q)u, p.T - 1u);
  let row_$q = at.b * p.T + t_$q;
//# for i in 0..HV
  let q$(q)_$i = qkv_at(row_$q * 3u * p.A + head + $(i)u) * p.scale;
  var z$(q)_$i = Vec(0.0);
//# end
  var top_$q = LOWEST;
  var sum_$q = 0.0;
  var weighted_$q = 0.0;
  var first_$q = 0.0;
//# end
  let last = min(t0 + $(TQ - 1)u, p.T - 1u);
  for (var j = 0u; j <= last; j++) {
    let key = (at.b * p.T + j) * 3u * p.A + p.A + head;
//# for q in 0..TQ
    var s_$q = 0.0;
//# end
//# for i in 0..HV
    let k_$i = qkv_at(key + $(i)u);
//# for q in 0..TQ
    s_$q += along(q$(q)_$i, k_$i);
//# end
//# end
//# for q in 0..TQ
    let seen_$q = j <= t_$q;
    first_$q = select(first_$q, s_$q, j == 0u);
    let top_new_$q = select(top_$q, max(top_$q, s_$q), seen_$q);
    let shrink_$q = exp(top_$q - top_new_$q);
    let e_$q = select(0.0, exp(s_$q - top_new_$q), seen_$q);
    sum_$q = sum_$q * shrink_$q + e_$q;
    weighted_$q = weighted_$q * shrink_$q + e_$q * s_$q;
    top_$q = top_new_$q;
//# end
//# for i in 0..HV
    let v_$i = qkv_at(key + p.A + $(i)u);
//# for q in 0..TQ
    z$(q)_$i = z$(q)_$i * shrink_$q + e_$q * v_$i;
//# end
//# end
  }
  let gate = gates[p.head0 + at.h];
//# for q in 0..TQ
  if (t0 + $(q)u < p.T) {
    let lse = top_$q + log(sum_$q);
    var square = 0.0;
//# for i in 0..HV
    let out_$i = z$(q)_$i / sum_$q;
    square += along(out_$i, out_$i);
    z[row_$q * p.A + head + $(i)u] = out_$i;
    zg[row_$q * p.A + head + $(i)u] = gate * out_$i;
//# end
    stats[((p.head0 + at.h) * p.B + at.b) * p.T + t_$q] =
      vec4<f32>(lse, lse - weighted_$q / sum_$q, exp(first_$q - lse), sqrt(square));
  }
//# end
}

//# entry backward_dq
@group(0) @binding(1) var<storage, read> gates: array<f32>;
@group(0) @binding(2) var<storage, read> z: array<Vec>;
@group(0) @binding(3) var<storage, read> stats: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> dzg: array<Vec>;
@group(0) @binding(5) var<storage, read_write> rowdot: array<f32>;
@group(0) @binding(6) var<storage, read_write> dqkv: array<Vec>;
@group(0) @binding(7) var<uniform> p: Params;
@compute @workgroup_size(64)
fn backward_dq(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let at = place((w.y * nw.x + w.x) * 64u + l, p);
  if (!at.valid) { return; }
  let t0 = at.tile * $(TQ)u;
  let head = at.h * $(HV)u;
  let gate = gates[p.head0 + at.h];
//# for q in 0..TQ
  let t_$q = min(t0 + $(q)u, p.T - 1u);
  let row_$q = at.b * p.T + t_$q;
  let stat_$q = ((p.head0 + at.h) * p.B + at.b) * p.T + t_$q;
  let lse_$q = stats[stat_$q].x;
  var dot_$q = 0.0;
//# for i in 0..HV
  let q$(q)_$i = qkv_at(row_$q * 3u * p.A + head + $(i)u) * p.scale;
  // zg = gate * z, so dz = gate * dzg
  var dz$(q)_$i = dzg[row_$q * p.A + head + $(i)u];
  dot_$q += along(dz$(q)_$i, z[row_$q * p.A + head + $(i)u]);
  dz$(q)_$i *= gate;
  var dq$(q)_$i = Vec(0.0);
//# end
//# end
  let last = min(t0 + $(TQ - 1)u, p.T - 1u);
  for (var j = 0u; j <= last; j++) {
    let key = (at.b * p.T + j) * 3u * p.A + p.A + head;
//# for q in 0..TQ
    var s_$q = 0.0;
    var dp_$q = 0.0;
//# end
//# for i in 0..HV
    let k_$i = qkv_at(key + $(i)u);
    let v_$i = qkv_at(key + p.A + $(i)u);
//# for q in 0..TQ
    s_$q += along(q$(q)_$i, k_$i);
    // z_i = sum_j p_ij v_j
    dp_$q += along(dz$(q)_$i, v_$i);
//# end
//# end
//# for q in 0..TQ
    // p = softmax(s): ds_ij = p_ij (dp_ij - sum_j p_ij dp_ij), and that sum is dz_i . z_i
    let ds_$q = select(0.0, exp(s_$q - lse_$q) * (dp_$q - gate * dot_$q) * p.scale, j <= t_$q);
//# for i in 0..HV
    dq$(q)_$i += ds_$q * k_$i;
//# end
//# end
  }
//# for q in 0..TQ
  if (t0 + $(q)u < p.T) {
    rowdot[stat_$q] = dot_$q;
//# for i in 0..HV
    dqkv[row_$q * 3u * p.A + head + $(i)u] = dq$(q)_$i;
//# end
  }
//# end
}

//# entry backward_dkv
@group(0) @binding(1) var<storage, read> gates: array<f32>;
//# if TEXELS
@group(0) @binding(2) var stats: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var dzg: texture_storage_2d<rgba32float, read>;
fn stats_at(i: u32) -> vec4<f32> { return textureLoad(stats, texel(i)); }
fn dzg_at(i: u32) -> Vec { return textureLoad(dzg, texel(i)); }
//# else
@group(0) @binding(2) var<storage, read> stats: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> dzg: array<Vec>;
fn stats_at(i: u32) -> vec4<f32> { return stats[i]; }
fn dzg_at(i: u32) -> Vec { return dzg[i]; }
//# end
@group(0) @binding(4) var<storage, read> rowdot: array<f32>;
@group(0) @binding(5) var<storage, read_write> dqkv: array<Vec>;
@group(0) @binding(6) var<uniform> p: Params;
@compute @workgroup_size(64)
fn backward_dkv(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let at = place((w.y * nw.x + w.x) * 64u + l, p);
  if (!at.valid) { return; }
  let j0 = at.tile * $(TQ)u;
  let head = at.h * $(HV)u;
  let gate = gates[p.head0 + at.h];
  let stat = ((p.head0 + at.h) * p.B + at.b) * p.T;
//# for q in 0..TQ
  let j_$q = min(j0 + $(q)u, p.T - 1u);
  let key_$q = (at.b * p.T + j_$q) * 3u * p.A + p.A + head;
//# for i in 0..HV
  let k$(q)_$i = qkv_at(key_$q + $(i)u);
  let v$(q)_$i = qkv_at(key_$q + p.A + $(i)u);
  var dk$(q)_$i = Vec(0.0);
  var dv$(q)_$i = Vec(0.0);
//# end
//# end
  for (var t = j0; t < p.T; t++) {
    let row = at.b * p.T + t;
    let lse = stats_at(stat + t).x;
    let dot_z = gate * rowdot[stat + t];
//# for q in 0..TQ
    var s_$q = 0.0;
    var dp_$q = 0.0;
//# end
//# for i in 0..HV
    let q_$i = qkv_at(row * 3u * p.A + head + $(i)u) * p.scale;
    let dz_$i = gate * dzg_at(row * p.A + head + $(i)u);
//# for q in 0..TQ
    s_$q += along(q_$i, k$(q)_$i);
    dp_$q += along(dz_$i, v$(q)_$i);
//# end
//# end
//# for q in 0..TQ
    let p_$q = select(0.0, exp(s_$q - lse), j_$q <= t);
    // s_ij = (q_i / sqrt(HS)) . k_j, and q_i here is already scaled
    let ds_$q = p_$q * (dp_$q - dot_z);
//# for i in 0..HV
    dk$(q)_$i += ds_$q * q_$i;
    // z_i = sum_j p_ij v_j
    dv$(q)_$i += p_$q * dz_$i;
//# end
//# end
  }
//# for q in 0..TQ
  if (j0 + $(q)u < p.T) {
//# for i in 0..HV
    dqkv[key_$q + $(i)u] = dk$(q)_$i;
    dqkv[key_$q + p.A + $(i)u] = dv$(q)_$i;
//# end
  }
//# end
}
