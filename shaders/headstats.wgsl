// Head metrics: reduces what attention left behind, one team of LANES threads a live head.
// stats (heads, B, T) vec4: lse, entropy, first key, norm of z · rowdot (heads, B, T) · sums (heads, 8), all +=:
//   0 entropy in nats, rows t >= 1      1 entropy / ln(t + 1), rows t >= 1      2 weight on the first key, rows t >= 1
//   3 norm of z, all rows               4 gate gradient of the batch            5 (gradient norm, see norm.wgsl)
//   6 mean over sequences of |g_b|      7 mean over sequences of g_b^2
// Row t of a causal head sees t + 1 keys, so row 0 has no entropy to speak of, and rows are comparable only after
// division by ln(t + 1). gate_grads (B, heads): g_b = d(mean loss of sequence b) / d gate, which is `batch` times its part of
// the batch's gradient; absolute values and squares are taken per sequence, because signs cancel in a batch.
// Where a batch is computed in several parts, `batch` is the sequences of all of them, and each adds its share.

struct Params { heads: u32, B: u32, T: u32, batch: u32 }

//# entry forward
@group(0) @binding(0) var<storage, read> stats: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
@compute @workgroup_size($LANES, $GROUPS)
fn forward(@builtin(workgroup_id) w: vec3<u32>, @builtin(local_invocation_id) l: vec3<u32>) {
  let wanted = w.x * $(GROUPS)u + l.y;
  let h = min(wanted, p.heads - 1u);
  let rows = p.B * p.T;
  var entropy = 0.0;
  var normalised = 0.0;
  var first = 0.0;
  var size = 0.0;
  for (var row = l.x; row < rows; row += $(LANES)u) {
    let s = stats[h * rows + row];
    let t = row % p.T;
    size += s.w;
    if (t > 0u) {
      entropy += s.y;
      normalised += s.y / log(f32(t + 1u));
      first += s.z;
    }
  }
  entropy = lanes_sum(entropy, l.x, l.y);
  normalised = lanes_sum(normalised, l.x, l.y);
  first = lanes_sum(first, l.x, l.y);
  size = lanes_sum(size, l.x, l.y);
  if (l.x != 0u || wanted >= p.heads) { return; }
  let later = f32(max(1u, p.batch * (p.T - 1u)));
  sums[h * 8u] += entropy / later;
  sums[h * 8u + 1u] += normalised / later;
  sums[h * 8u + 2u] += first / later;
  sums[h * 8u + 3u] += size / f32(p.batch * p.T);
}

//# entry backward
@group(0) @binding(0) var<storage, read> rowdot: array<f32>;
@group(0) @binding(1) var<storage, read_write> gate_grads: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;
@compute @workgroup_size($LANES, $GROUPS)
fn backward(@builtin(workgroup_id) w: vec3<u32>, @builtin(local_invocation_id) l: vec3<u32>) {
  let wanted = w.x * $(GROUPS)u + l.y;
  let h = min(wanted, p.heads - 1u);
  let sequences = f32(p.batch);
  var signed = 0.0;
  var absolute = 0.0;
  var square = 0.0;
  for (var b = 0u; b < p.B; b++) {
    var part = 0.0;
    for (var t = l.x; t < p.T; t += $(LANES)u) { part += rowdot[(h * p.B + b) * p.T + t]; }
    let g = lanes_sum(part, l.x, l.y) * sequences;
    signed += g;
    absolute += abs(g);
    square += g * g;
    if (l.x == 0u && wanted < p.heads) { gate_grads[b * p.heads + h] = g; }
  }
  if (l.x != 0u || wanted >= p.heads) { return; }
  sums[h * 8u + 4u] += signed / sequences;
  sums[h * 8u + 6u] += absolute / sequences;
  sums[h * 8u + 7u] += square / sequences;
}
