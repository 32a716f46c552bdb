// GELU, tanh form. out = 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))      Hendrycks and Gimpel 2016
// inp, out, dout (n), n counted in vec4s, one each thread. backward turns dout into dinp in place.
// tanh of a large argument overflows on some drivers (exp(2u) / exp(2u)); past 10 it is 1 in fp32 anyway.
const S = 0.7978845608028654;
fn tanh_safe(u: vec4<f32>) -> vec4<f32> { return tanh(clamp(u, vec4<f32>(-10.0), vec4<f32>(10.0))); }

//# entry forward
struct Params { n: u32 }
@group(0) @binding(0) var<storage, read> inp: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> p: Params;
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let i = (w.y * nw.x + w.x) * 64u + l;
  if (i >= p.n) { return; }
  let x = inp[i];
  out[i] = 0.5 * x * (1.0 + tanh_safe(S * (x + 0.044715 * x * x * x)));
}

//# entry backward
struct Params { n: u32 }
@group(0) @binding(0) var<storage, read> inp: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> dout: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> p: Params;
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  let i = (w.y * nw.x + w.x) * 64u + l;
  if (i >= p.n) { return; }
  let x = inp[i];
  let y = tanh_safe(S * (x + 0.044715 * x * x * x));
  // out = 0.5 x (1 + y), and dy/dx = (1 - y^2) S (1 + 3 * 0.044715 x^2)
  dout[i] *= 0.5 * (1.0 + y) + 0.5 * x * (1.0 - y * y) * S * (1.0 + 0.134145 * x * x);
}
