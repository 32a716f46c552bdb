// AdamW with decoupled decay. m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2,            Loshchilov and Hutter 2019
//   param -= factor * lr * (decay * param + (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps))
// param, grad, m, v (n), a Vec each thread. g is the gradient after clipping by global norm.
// hyper: lr, 1 / (1 - b1^t), 1 / sqrt(1 - b2^t), ring slot, loss weight. norm: global norm, its clip scale.
// factors: one learning-rate factor per live head; it scales the update, decay included, because Adam would
// undo a scaled gradient. AXIS says how heads own the elements: 0 not at all, 1 columns of q|k|v, 2 rows.

//# entry step
struct Params { n: u32, decay: f32, b1: f32, b2: f32, eps: f32, head0: u32, HS: u32, A: u32, columns: u32 }
@group(0) @binding(0) var<storage, read> grad: array<Vec>;
@group(0) @binding(1) var<storage, read> hyper: array<f32>;
@group(0) @binding(2) var<storage, read> norm: array<f32>;
@group(0) @binding(3) var<storage, read_write> param: array<Vec>;
@group(0) @binding(4) var<storage, read_write> m: array<Vec>;
@group(0) @binding(5) var<storage, read_write> v: array<Vec>;
//# if AXIS > 0
@group(0) @binding(6) var<storage, read> factors: array<f32>;
//# end
@group(0) @binding(7) var<uniform> p: Params;
@compute @workgroup_size(64)
fn step(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let i = (w.y * nw.x + w.x) * 64u + l;
  if (i >= p.n) { return; }
  let g = grad[i] * norm[1];
  let m_new = p.b1 * m[i] + (1.0 - p.b1) * g;
  let v_new = p.b2 * v[i] + (1.0 - p.b2) * g * g;
  m[i] = m_new;
  v[i] = v_new;
  var rate = hyper[0];
//# if AXIS == 1
  rate *= factors[p.head0 + (i * $(VEC)u % p.columns) % p.A / p.HS];
//# end
//# if AXIS == 2
  rate *= factors[p.head0 + i * $(VEC)u / (p.HS * p.columns)];
//# end
  param[i] -= rate * (p.decay * param[i] + m_new * hyper[1] / (sqrt(v_new) * hyper[2] + p.eps));
}
