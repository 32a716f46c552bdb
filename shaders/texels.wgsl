// Where a texture holds elements 4 i to 4 i + 3 of the tensor that was copied into it, TEXELS to a row (src/gpu/texels.ts).
//# if TEXELS
fn texel(i: u32) -> vec2<u32> { return vec2(i % $(TEXELS)u, i / $(TEXELS)u); }
//# end
