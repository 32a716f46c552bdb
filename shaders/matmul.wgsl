// Matmul. out[m, n] = sum_k a[m, k] b[k, n]  (+ bias[n])  (+ residual[m, n])  (+ out[m, n] where ACC)
// One page serves a linear layer's three products (weights are stored [in, out], as GPT-2's Conv1D does):
//   KIND 0  a (M, K), b (K, N)     out = inp weight + bias;  dh = dlogits wte
//   KIND 1  a (M, K), b (N, K)     dinp = dout weight^T;     logits = h wte^T
//   KIND 2  a (K, M), b (K, N)     dweight += inp^T dout;    dwte += dlogits^T h
// An element is one accumulator over ascending k: the same inputs give the same bits, whatever the sizes of tiles.

// registers: a thread holds TM x (TN Vecs) of out and loads from memory directly. For adapters that compute on the
// CPU: they gain nothing from workgroup memory, and loads (not arithmetic) bound them, so the tile is large.
// With TEXELS, a and b are copies in textures, which such adapters read several times faster; rows and K are whole
// vec4s. Strides count Vecs. Loads past the last row or column read garbage that is never stored.
//# entry registers
struct Params { M: u32, N: u32, K: u32, lda: u32, ldb: u32, ldc: u32 }
//# if TEXELS
@group(0) @binding(0) var a: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var b: texture_storage_2d<rgba32float, read>;
//# else
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
//# end
@group(0) @binding(2) var<storage, read_write> out: array<Vec>;
//# if BIAS
@group(0) @binding(3) var<storage, read> bias: array<Vec>;
//# end
//# if RESIDUAL && TEXELS
@group(0) @binding(4) var residual: texture_storage_2d<rgba32float, read>;
//# end
//# if RESIDUAL && !TEXELS
@group(0) @binding(4) var<storage, read> residual: array<Vec>;
//# end
@group(0) @binding(5) var<uniform> p: Params;
@compute @workgroup_size($WX, $WY)
fn registers(@builtin(global_invocation_id) id: vec3<u32>) {
  let m0 = id.y * $(TM)u;
  let n0 = id.x * $(TN)u;
  let columns = (p.N + $(VEC - 1)u) / $(VEC)u;
  if (m0 >= p.M || n0 >= columns) { return; }
//# for m in 0..TM
//# for n in 0..TN
  var c$(m)_$n = Vec(0.0);
//# end
//# end

//# if TEXELS
  for (var k = 0u; k < p.K; k += 4u) {
    // all loads first: each is a function call in such drivers, around which registers are saved
//# if KIND == 2
//# for u in 0..4
//# for i in 0..TM / 4
    let a$(u)_$i = textureLoad(a, texel((k + $(u)u) * p.lda + m0 / 4u + $(i)u));
//# end
//# end
//# else
//# for m in 0..TM
    let a_$m = textureLoad(a, texel((m0 + $(m)u) * p.lda + k / 4u));
//# end
//# end
//# if KIND == 1
//# for j in 0..4 * TN
    let b_$j = textureLoad(b, texel((4u * n0 + $(j)u) * p.ldb + k / 4u));
//# end
//# for u in 0..4
//# for n in 0..TN
    let b$(u)_$n = vec4(b_$(4 * n)[$u], b_$(4 * n + 1)[$u], b_$(4 * n + 2)[$u], b_$(4 * n + 3)[$u]);
//# end
//# end
//# else
//# for u in 0..4
//# for n in 0..TN
    let b$(u)_$n = textureLoad(b, texel((k + $(u)u) * p.ldb + n0 + $(n)u));
//# end
//# end
//# end
//# for u in 0..4
//# for m in 0..TM
//# for n in 0..TN
//# if KIND == 2
    c$(m)_$n += a$(u)_$(m / 4)[$(m % 4)] * b$(u)_$n;
//# else
    c$(m)_$n += a_$m[$u] * b$(u)_$n;
//# end
//# end
//# end
//# end
  }
//# else
  for (var k = 0u; k < p.K; k++) {
//# for n in 0..TN
//# if KIND == 1
    let b_$n = b[(n0 + $(n)u) * p.ldb + k];
//# else
    let b_$n = b[k * p.ldb + n0 + $(n)u];
//# end
//# end
//# for m in 0..TM
//# if KIND == 2
    let a_$m = a[k * p.lda + m0 + $(m)u];
//# else
    let a_$m = a[(m0 + $(m)u) * p.lda + k];
//# end
//# for n in 0..TN
    c$(m)_$n += a_$m * b_$n;
//# end
//# end
  }
//# end

//# for n in 0..TN
  if (n0 + $(n)u < columns) {
//# if BIAS
    let bias_$n = bias[n0 + $(n)u];
//# end
//# for m in 0..TM
    if (m0 + $(m)u < p.M) {
      let at = (m0 + $(m)u) * p.ldc + n0 + $(n)u;
      var value = c$(m)_$n;
//# if BIAS
      value += bias_$n;
//# end
//# if RESIDUAL && TEXELS
      value += textureLoad(residual, texel(at));
//# end
//# if RESIDUAL && !TEXELS
      value += residual[at];
//# end
//# if ACC
      value += out[at];
//# end
      out[at] = value;
    }
//# end
  }
//# end
}

// tiled: a workgroup of 16 x 16 threads stages BK columns of a and rows of b in workgroup memory; a thread holds
// TM x TN numbers, spread 16 apart so that neighbours read neighbouring words. For real GPUs; strides count numbers.
//# entry tiled
struct Params { M: u32, N: u32, K: u32, lda: u32, ldb: u32, ldc: u32 }
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
//# if BIAS
@group(0) @binding(3) var<storage, read> bias: array<f32>;
//# end
//# if RESIDUAL
@group(0) @binding(4) var<storage, read> residual: array<f32>;
//# end
@group(0) @binding(5) var<uniform> p: Params;
// rows of a tile are one longer than the tile is wide, so that transposing writes hit different banks
var<workgroup> a_tile: array<f32, $(BK * (16 * TM + 1))>;
var<workgroup> b_tile: array<f32, $(BK * (16 * TN + 1))>;
@compute @workgroup_size(16, 16)
fn tiled(@builtin(workgroup_id) w: vec3<u32>, @builtin(local_invocation_id) l: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let m0 = w.y * $(16 * TM)u;
  let n0 = w.x * $(16 * TN)u;
//# for m in 0..TM
//# for n in 0..TN
  var c$(m)_$n = 0.0;
//# end
//# end
  for (var k0 = 0u; k0 < p.K; k0 += $(BK)u) {
//# for i in 0..BK * TM / 16
    {
      let e = index + $(i * 256)u;
//# if KIND == 2
      let m = e % $(16 * TM)u;
      let k = e / $(16 * TM)u;
      let source = (k0 + k) * p.lda + m0 + m;
//# else
      let k = e % $(BK)u;
      let m = e / $(BK)u;
      let source = (m0 + m) * p.lda + k0 + k;
//# end
      a_tile[k * $(16 * TM + 1)u + m] = select(0.0, a[source], m0 + m < p.M && k0 + k < p.K);
    }
//# end
//# for i in 0..BK * TN / 16
    {
      let e = index + $(i * 256)u;
//# if KIND == 1
      let k = e % $(BK)u;
      let n = e / $(BK)u;
      let source = (n0 + n) * p.ldb + k0 + k;
//# else
      let n = e % $(16 * TN)u;
      let k = e / $(16 * TN)u;
      let source = (k0 + k) * p.ldb + n0 + n;
//# end
      b_tile[k * $(16 * TN + 1)u + n] = select(0.0, b[source], n0 + n < p.N && k0 + k < p.K);
    }
//# end
    workgroupBarrier();
//# for k in 0..BK
    {
//# for n in 0..TN
      let b_$n = b_tile[$(k * (16 * TN + 1) + 16 * n)u + l.x];
//# end
//# for m in 0..TM
      let a_$m = a_tile[$(k * (16 * TM + 1) + 16 * m)u + l.y];
//# for n in 0..TN
      c$(m)_$n = fma(a_$m, b_$n, c$(m)_$n);
//# end
//# end
    }
//# end
    workgroupBarrier();
  }
//# for n in 0..TN
  {
    let n = n0 + $(16 * n)u + l.x;
    if (n < p.N) {
//# for m in 0..TM
      {
        let m = m0 + $(16 * m)u + l.y;
        if (m < p.M) {
          let at = m * p.ldc + n;
          var value = c$(m)_$n;
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
  }
//# end
}

// dbias[n] += sum over rows of dout[row, n]; LANES threads a column.
//# entry backward_dbias
struct Params { rows: u32, N: u32 }
@group(0) @binding(0) var<storage, read> dout: array<f32>;
@group(0) @binding(1) var<storage, read_write> dbias: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
@compute @workgroup_size($GROUPS, $LANES)
fn backward_dbias(@builtin(workgroup_id) w: vec3<u32>, @builtin(local_invocation_id) l: vec3<u32>) {
  let wanted = w.x * $(GROUPS)u + l.x;
  let n = min(wanted, p.N - 1u);
  var sum = 0.0;
  for (var row = l.y; row < p.rows; row += $(LANES)u) { sum += dout[row * p.N + n]; }
  sum = lanes_sum(sum, l.y, l.x);
  if (l.y == 0u && wanted < p.N) { dbias[n] += sum; }
}
