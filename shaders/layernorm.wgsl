// LayerNorm. out = (inp - mean) * rstd * weight + bias                  Ba et al. 2016
// inp, out, dout, dinp (rows, C) · mean, rstd (rows) · weight, bias, dweight, dbias (C) · C counted in Vecs
// forward and backward_dinp: LANES threads a row. backward_dweight: LANES threads a column.
// dinp is += where ACC is 1 (the residual stream gathers gradients), else =. dweight and dbias are +=.

//# entry forward
struct Params { rows: u32, C: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> inp: array<Vec>;
@group(0) @binding(1) var<storage, read> weight: array<Vec>;
@group(0) @binding(2) var<storage, read> bias: array<Vec>;
@group(0) @binding(3) var<storage, read_write> out: array<Vec>;
@group(0) @binding(4) var<storage, read_write> mean: array<f32>;
@group(0) @binding(5) var<storage, read_write> rstd: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
@compute @workgroup_size($LANES, $GROUPS)
fn forward(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_id) l: vec3<u32>) {
  let wanted = (w.y * nw.x + w.x) * $(GROUPS)u + l.y;
  let row = min(wanted, p.rows - 1u);
  let at = row * p.C;
  let n = f32(p.C * $(VEC)u);
  var part = Vec(0.0);
  for (var c = l.x; c < p.C; c += $(LANES)u) { part += inp[at + c]; }
  let m = lanes_sum(total(part), l.x, l.y) / n;
  part = Vec(0.0);
  for (var c = l.x; c < p.C; c += $(LANES)u) {
    let d = inp[at + c] - m;
    part += d * d;
  }
  let r = inverseSqrt(lanes_sum(total(part), l.x, l.y) / n + p.eps);
  if (wanted >= p.rows) { return; }
  for (var c = l.x; c < p.C; c += $(LANES)u) {
    out[at + c] = (inp[at + c] - m) * r * weight[c] + bias[c];
  }
  if (l.x == 0u) {
    mean[row] = m;
    rstd[row] = r;
  }
}

//# entry backward_dinp
struct Params { rows: u32, C: u32 }
@group(0) @binding(0) var<storage, read> inp: array<Vec>;
@group(0) @binding(1) var<storage, read> weight: array<Vec>;
@group(0) @binding(2) var<storage, read> mean: array<f32>;
@group(0) @binding(3) var<storage, read> rstd: array<f32>;
@group(0) @binding(4) var<storage, read> dout: array<Vec>;
@group(0) @binding(5) var<storage, read_write> dinp: array<Vec>;
@group(0) @binding(6) var<uniform> p: Params;
@compute @workgroup_size($LANES, $GROUPS)
fn backward_dinp(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_id) l: vec3<u32>) {
  let wanted = (w.y * nw.x + w.x) * $(GROUPS)u + l.y;
  let row = min(wanted, p.rows - 1u);
  let at = row * p.C;
  let n = f32(p.C * $(VEC)u);
  let m = mean[row];
  let r = rstd[row];
  // out = norm * weight + bias, so dnorm = dout * weight; norm depends on inp directly, through mean and through rstd
  var sum = Vec(0.0);
  var sum_norm = Vec(0.0);
  for (var c = l.x; c < p.C; c += $(LANES)u) {
    let dnorm = dout[at + c] * weight[c];
    sum += dnorm;
    sum_norm += dnorm * ((inp[at + c] - m) * r);
  }
  let mean_dnorm = lanes_sum(total(sum), l.x, l.y) / n;
  let mean_dnorm_norm = lanes_sum(total(sum_norm), l.x, l.y) / n;
  if (wanted >= p.rows) { return; }
  for (var c = l.x; c < p.C; c += $(LANES)u) {
    let norm = (inp[at + c] - m) * r;
    let d = (dout[at + c] * weight[c] - mean_dnorm - norm * mean_dnorm_norm) * r;
//# if ACC
    dinp[at + c] += d;
//# else
    dinp[at + c] = d;
//# end
  }
}

//# entry backward_dweight
struct Params { rows: u32, C: u32 }
@group(0) @binding(0) var<storage, read> inp: array<f32>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> rstd: array<f32>;
@group(0) @binding(3) var<storage, read> dout: array<f32>;
@group(0) @binding(4) var<storage, read_write> dweight: array<f32>;
@group(0) @binding(5) var<storage, read_write> dbias: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
@compute @workgroup_size($GROUPS, $LANES)
fn backward_dweight(@builtin(workgroup_id) w: vec3<u32>, @builtin(local_invocation_id) l: vec3<u32>) {
  let wanted = w.x * $(GROUPS)u + l.x;
  let c = min(wanted, p.C - 1u);
  var by_norm = 0.0;
  var alone = 0.0;
  for (var row = l.y; row < p.rows; row += $(LANES)u) {
    let d = dout[row * p.C + c];
    by_norm += d * ((inp[row * p.C + c] - mean[row]) * rstd[row]);
    alone += d;
  }
  by_norm = lanes_sum(by_norm, l.y, l.x);
  alone = lanes_sum(alone, l.y, l.x);
  if (l.y == 0u && wanted < p.C) {
    dweight[c] += by_norm;
    dbias[c] += alone;
  }
}
