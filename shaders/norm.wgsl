// Gradient norms.
// partial: a workgroup takes `per * 64` vec4s in a row, a thread every 64th of them, and leaves its sum of squares in
// partials[first + thread]. finish: norm = (global L2
// norm, clip scale min(1, clip / norm)), and ring[2 * slot + 1] = the norm. clip = 0 means no clipping.
// heads: for each head of a layer, sums[head0 + h][5] += L2 norm of the gradient of its q, k, v columns (weight and
// bias) and of its rows of the output projection.

//# entry partial
struct Params { n: u32, per: u32, first: u32 }
@group(0) @binding(0) var<storage, read> grads: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> partials: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
@compute @workgroup_size(64)
fn partial(@builtin(global_invocation_id) id: vec3<u32>) {
  var sum = vec4<f32>(0.0);
  let start = (id.x / 64u) * 64u * p.per + id.x % 64u;
  for (var j = 0u; j < p.per; j++) {
    let i = start + j * 64u;
    if (i < p.n) { sum += grads[i] * grads[i]; }
  }
  partials[p.first + id.x] = (sum.x + sum.y) + (sum.z + sum.w);
}

//# entry finish
struct Params { n: u32, clip: f32 }
@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read> hyper: array<f32>;
@group(0) @binding(2) var<storage, read_write> norm: array<f32>;
@group(0) @binding(3) var<storage, read_write> ring: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
@compute @workgroup_size($LANES)
fn finish(@builtin(local_invocation_id) l: vec3<u32>) {
  var sum = 0.0;
  for (var i = l.x; i < p.n; i += $(LANES)u) { sum += partials[i]; }
  let all = sqrt(lanes_sum(sum, l.x, 0u));
  if (l.x == 0u) {
    norm[0] = all;
    // PyTorch's clip_grad_norm_ divides by norm + 1e-6
    norm[1] = select(1.0, min(1.0, p.clip / (all + 1e-6)), p.clip > 0.0);
    ring[2u * u32(hyper[3]) + 1u] = all;
  }
}

//# entry heads
struct Params { NH: u32, C: u32, head0: u32 }
@group(0) @binding(0) var<storage, read> dqkv_weight: array<f32>;
@group(0) @binding(1) var<storage, read> dqkv_bias: array<f32>;
@group(0) @binding(2) var<storage, read> dproj_weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
@compute @workgroup_size($LANES, $GROUPS)
fn heads(@builtin(workgroup_id) w: vec3<u32>, @builtin(local_invocation_id) l: vec3<u32>) {
  let wanted = w.x * $(GROUPS)u + l.y;
  let h = min(wanted, p.NH - 1u);
  let A = p.NH * $(HS)u;
  var sum = 0.0;
  for (var c = l.x; c < p.C; c += $(LANES)u) {
    let row = c * 3u * A + h * $(HS)u;
//# for i in 0..HS
    {
      let q = dqkv_weight[row + $(i)u];
      let k = dqkv_weight[row + A + $(i)u];
      let v = dqkv_weight[row + 2u * A + $(i)u];
      let o = dproj_weight[(h * $(HS)u + $(i)u) * p.C + c];
      sum += q * q + k * k + v * v + o * o;
    }
//# end
  }
  for (var i = l.x; i < $(3 * HS)u; i += $(LANES)u) {
    let b = dqkv_bias[i / $(HS)u * A + h * $(HS)u + i % $(HS)u];
    sum += b * b;
  }
  sum = lanes_sum(sum, l.x, l.y);
  if (l.x == 0u && wanted < p.NH) { sums[(p.head0 + h) * 8u + 5u] += sqrt(sum); }
}
