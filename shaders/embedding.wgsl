// Embedding. out[b, t, c] = wte[tokens[b, t], c] + wpe[t, c]            Radford et al. 2019, section 2.3
// tokens, order (B*T) · wte (V1 - V0, C) a piece of the table that fits one binding · wpe (T, C) · out, dout (B*T, C)
// forward writes the rows whose token lies in [V0, V1); the pieces together write every row.
// Gradients are +=, and each element of a table is summed by one thread, in a fixed order (no atomics).

//# entry forward
struct Params { rows: u32, T: u32, C: u32, V0: u32, V1: u32 }
@group(0) @binding(0) var<storage, read> tokens: array<u32>;
@group(0) @binding(1) var<storage, read> wte: array<f32>;
@group(0) @binding(2) var<storage, read> wpe: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let i = (w.y * nw.x + w.x) * 64u + l;
  if (i >= p.rows * p.C) { return; }
  let row = i / p.C;
  let c = i % p.C;
  let token = tokens[row];
  if (token >= p.V0 && token < p.V1) {
    out[i] = wte[(token - p.V0) * p.C + c] + wpe[(row % p.T) * p.C + c];
  }
}

// order lists the rows sorted by token. The thread of (i, c) does nothing unless order[i] is the first row of
// its token; then it sums that token's rows.
//# entry backward_dwte
struct Params { rows: u32, C: u32, V0: u32, V1: u32 }
@group(0) @binding(0) var<storage, read> tokens: array<u32>;
@group(0) @binding(1) var<storage, read> order: array<u32>;
@group(0) @binding(2) var<storage, read> dout: array<f32>;
@group(0) @binding(3) var<storage, read_write> dwte: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
@compute @workgroup_size(64)
fn backward_dwte(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let flat = (w.y * nw.x + w.x) * 64u + l;
  if (flat >= p.rows * p.C) { return; }
  let i = flat / p.C;
  let c = flat % p.C;
  let token = tokens[order[i]];
  if (token < p.V0 || token >= p.V1) { return; }
  if (i > 0u && tokens[order[i - 1u]] == token) { return; }
  var sum = 0.0;
  for (var j = i; j < p.rows && tokens[order[j]] == token; j++) {
    // out[row, c] = wte[token, c] + ...
    sum += dout[order[j] * p.C + c];
  }
  dwte[(token - p.V0) * p.C + c] += sum;
}

//# entry backward_dwpe
struct Params { B: u32, T: u32, C: u32 }
@group(0) @binding(0) var<storage, read> dout: array<f32>;
@group(0) @binding(1) var<storage, read_write> dwpe: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
@compute @workgroup_size(64)
fn backward_dwpe(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let i = (w.y * nw.x + w.x) * 64u + l;
  if (i >= p.T * p.C) { return; }
  var sum = 0.0;
  for (var b = 0u; b < p.B; b++) {
    // out[b, t, c] = ... + wpe[t, c]
    sum += dout[b * p.T * p.C + i];
  }
  dwpe[i] += sum;
}
