// The matmul page's products where there are few rows, for real GPUs: decoding has one token a sequence, and reading b is
// all the work.
//   KIND 0  a (M, K), b (K, N)     out = a b (+ bias) (+ residual) (+ out where ACC): a linear layer
//   KIND 1  a (M, K), b (N, K)     out = a b^T: logits
// A team of LANES threads takes turns along k, for TM rows of one Vec of columns (KIND 0, whose b is read along n) or
// of one column (KIND 1, whose b is read along k); neighbouring threads read neighbouring words of b. An element's sum
// does not depend on M: a sequence's logits are the same bits, whatever is decoded beside it.
// Strides count Vecs, but KIND 1's ldc counts numbers. Loads past the last row or column are moved to it.

//# entry gemv
struct Params { M: u32, N: u32, K: u32, lda: u32, ldb: u32, ldc: u32 }
@group(0) @binding(0) var<storage, read> a: array<Vec>;
@group(0) @binding(1) var<storage, read> b: array<Vec>;
//# if KIND == 0
@group(0) @binding(2) var<storage, read_write> out: array<Vec>;
//# else
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
//# end
//# if BIAS
@group(0) @binding(3) var<storage, read> bias: array<Vec>;
//# end
//# if RESIDUAL
@group(0) @binding(4) var<storage, read> residual: array<Vec>;
//# end
@group(0) @binding(5) var<uniform> p: Params;

var<workgroup> parts: array<Vec, $(LANES * GROUPS)>;
fn over_lanes(part: Vec, lane: u32, group: u32) -> Vec {
  workgroupBarrier();
  parts[lane * $(GROUPS)u + group] = part;
  workgroupBarrier();
  for (var half = $(LANES / 2)u; half > 0u; half = half / 2u) {
    if (lane < half) { parts[lane * $(GROUPS)u + group] += parts[(lane + half) * $(GROUPS)u + group]; }
    workgroupBarrier();
  }
  return parts[group];
}

//# if KIND == 0
@compute @workgroup_size($GROUPS, $LANES)
//# else
@compute @workgroup_size($LANES, $GROUPS)
//# end
fn gemv(@builtin(workgroup_id) w: vec3<u32>, @builtin(local_invocation_id) l: vec3<u32>) {
//# if KIND == 0
  let group = l.x;
  let lane = l.y;
  let columns = p.N / $(VEC)u;
//# else
  let group = l.y;
  let lane = l.x;
  let columns = p.N;
//# end
  let wanted = w.x * $(GROUPS)u + group;
  let n = min(wanted, columns - 1u);
  let m0 = w.y * $(TM)u;
//# for m in 0..TM
  let row_$m = min(m0 + $(m)u, p.M - 1u) * p.lda;
  var c_$m = Vec(0.0);
//# end
  for (var k = lane; k < p.K / $(VEC)u; k += $(LANES)u) {
//# for m in 0..TM
    let a_$m = a[row_$m + k];
//# end
//# if KIND == 1
    let b_0 = b[n * p.ldb + k];
//# for m in 0..TM
    c_$m += a_$m * b_0;
//# end
//# end
//# if KIND == 0 && VEC == 1
    let b_0 = b[k * p.ldb + n];
//# for m in 0..TM
    c_$m += a_$m * b_0;
//# end
//# end
//# if KIND == 0 && VEC == 4
//# for u in 0..4
    let b_$u = b[(4u * k + $(u)u) * p.ldb + n];
//# for m in 0..TM
    c_$m += a_$m[$u] * b_$u;
//# end
//# end
//# end
  }
//# for m in 0..TM
  {
//# if KIND == 0
    var value = over_lanes(c_$m, lane, group);
//# else
    var value = total(over_lanes(c_$m, lane, group));
//# end
    if (lane == 0u && wanted < columns && m0 + $(m)u < p.M) {
      let at = (m0 + $(m)u) * p.ldc + n;
//# if BIAS
      value += bias[n];
//# end
//# if RESIDUAL
      value += residual[at];
//# end
//# if ACC
      value += out[at];
//# end
      out[at] = value;
    }
  }
//# end
}
