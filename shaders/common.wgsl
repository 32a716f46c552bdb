// Helpers that other pages begin with.
//
// Vec: what one load brings. VEC = 4 where every row is a multiple of 4 long, else 1.
// lanes_sum, lanes_max: LANES threads that share a row (or column) combine their parts, always in the same
// order. A workgroup holds GROUPS such teams; thread (lane, group). With LANES = 1 nothing is shared and there
// is no barrier: software adapters take minutes to compile those and gain nothing from them.
//# if VEC == 4
alias Vec = vec4<f32>;
fn total(v: Vec) -> f32 { return (v.x + v.y) + (v.z + v.w); }
fn highest(v: Vec) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }
//# else
alias Vec = f32;
fn total(v: Vec) -> f32 { return v; }
fn highest(v: Vec) -> f32 { return v; }
//# end
const LOWEST = -3.4028234e38;


//# if LANES > 1
var<workgroup> shared_lanes: array<f32, $(LANES * GROUPS)>;
fn lanes_sum(part: f32, lane: u32, group: u32) -> f32 {
  workgroupBarrier();
  shared_lanes[lane * $(GROUPS)u + group] = part;
  workgroupBarrier();
  for (var half = $(LANES / 2)u; half > 0u; half = half / 2u) {
    if (lane < half) {
      shared_lanes[lane * $(GROUPS)u + group] += shared_lanes[(lane + half) * $(GROUPS)u + group];
    }
    workgroupBarrier();
  }
  return shared_lanes[group];
}
fn lanes_max(part: f32, lane: u32, group: u32) -> f32 {
  workgroupBarrier();
  shared_lanes[lane * $(GROUPS)u + group] = part;
  workgroupBarrier();
  for (var half = $(LANES / 2)u; half > 0u; half = half / 2u) {
    if (lane < half) {
      shared_lanes[lane * $(GROUPS)u + group] =
        max(shared_lanes[lane * $(GROUPS)u + group], shared_lanes[(lane + half) * $(GROUPS)u + group]);
    }
    workgroupBarrier();
  }
  return shared_lanes[group];
}
//# else
fn lanes_sum(part: f32, lane: u32, group: u32) -> f32 { return part; }
fn lanes_max(part: f32, lane: u32, group: u32) -> f32 { return part; }
//# end
