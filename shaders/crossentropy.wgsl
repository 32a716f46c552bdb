// Softmax cross-entropy, over pieces of the vocabulary so that all logits never need to exist at once.
//   loss[row] = lse[row] - logits[row, target],  lse = ln sum_v exp(logits[row, v])
// logits (rows, stride) hold the columns [V0, V0 + N) of the vocabulary; columns N..stride are padding.
// state (rows, 4): running max, running sum of exp, logit of the target, lse. LANES threads a row.
// A target of IGNORE is not scored. Gradient and mean are of `weight` = 1 / (rows that are scored).
const IGNORE = 0xffffffffu;

// Merges one piece into the running state; FIRST starts it, LAST closes it with lse and loss.
//# entry forward
struct Params { rows: u32, N: u32, stride: u32, V0: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> state: array<vec4<f32>>;
//# if LAST
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;
//# end
@group(0) @binding(4) var<uniform> p: Params;
@compute @workgroup_size($LANES, $GROUPS)
fn forward(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_id) l: vec3<u32>) {
  let wanted = (w.y * nw.x + w.x) * $(GROUPS)u + l.y;
  let row = min(wanted, p.rows - 1u);
  let at = row * p.stride;
//# if FIRST
  var s = vec4<f32>(LOWEST, 0.0, 0.0, 0.0);
//# else
  var s = state[row];
//# end
  var top = s.x;
  for (var v = l.x; v < p.N; v += $(LANES)u) { top = max(top, logits[at + v]); }
  top = lanes_max(top, l.x, l.y);
  var sum = 0.0;
  for (var v = l.x; v < p.N; v += $(LANES)u) { sum += exp(logits[at + v] - top); }
  sum = s.y * exp(s.x - top) + lanes_sum(sum, l.x, l.y);
  if (wanted >= p.rows || l.x != 0u) { return; }
  let target_token = targets[row];
  var chosen = s.z;
  if (target_token != IGNORE && target_token >= p.V0 && target_token < p.V0 + p.N) {
    chosen = logits[at + target_token - p.V0];
  }
  let lse = top + log(sum);
  state[row] = vec4<f32>(top, sum, chosen, lse);
//# if LAST
  losses[row] = select(lse - chosen, 0.0, target_token == IGNORE);
//# end
}

// logits become dlogits = (softmax - [v = target]) * weight, in place; padding becomes 0. Four columns a thread.
//# entry backward
struct Params { rows: u32, N: u32, stride: u32, V0: u32 }
@group(0) @binding(0) var<storage, read_write> logits: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read> state: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> hyper: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let i = (w.y * nw.x + w.x) * 64u + l;
  let across = p.stride / 4u;
  if (i >= p.rows * across) { return; }
  let row = i / across;
  let v = (i % across) * 4u + vec4<u32>(0u, 1u, 2u, 3u);
  let target_token = targets[row];
  let scored = v < vec4<u32>(select(p.N, 0u, target_token == IGNORE));
  let hit = select(vec4<f32>(0.0), vec4<f32>(1.0), v + p.V0 == vec4<u32>(target_token));
  logits[i] = select(vec4<f32>(0.0), (exp(logits[i] - state[row].w) - hit) * hyper[4], scored);
}

// Sums the rows' losses, times weight, into ring[2 * slot]; hyper[5] adds them to what is there.
//# entry mean
struct Params { rows: u32 }
@group(0) @binding(0) var<storage, read> losses: array<f32>;
@group(0) @binding(1) var<storage, read> hyper: array<f32>;
@group(0) @binding(2) var<storage, read_write> ring: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;
@compute @workgroup_size($LANES)
fn mean(@builtin(local_invocation_id) l: vec3<u32>) {
  var sum = 0.0;
  for (var row = l.x; row < p.rows; row += $(LANES)u) { sum += losses[row]; }
  sum = lanes_sum(sum, l.x, 0u);
  let slot = 2u * u32(hyper[3]);
  if (l.x == 0u) { ring[slot] = select(0.0, ring[slot], hyper[5] > 0.0) + sum * hyper[4]; }
}
