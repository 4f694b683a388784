import Testing

@testable import Reports

@Suite struct LinearPlaceTests {
  @Test(arguments: [
    ("model.layers.17.self_attn.q_proj", "q", 17, LinearPlace.Part.plain),
    ("model.layers.3.mlp.experts.17.gate_proj", "gate", 3, .expert),
    ("model.layers.5.block_sparse_moe.experts.0.w1.weight", "gate", 5, .expert),
    ("model.layers.5.block_sparse_moe.experts.7.w2", "down", 5, .expert),
    ("model.language_model.layers.0.mlp.up_proj", "up", 0, .plain),
    ("language_model.model.layers.4.feed_forward.shared_expert.down_proj", "down", 4, .shared),
    ("model.layers.9.mlp.shared_experts.gate_proj", "gate", 9, .shared),
    ("model.layers.60.self_attn.q_a_proj", "q_a", 60, .plain),
    ("model.layers.60.self_attn.q_b_proj", "q_b", 60, .plain),
    ("model.layers.60.self_attn.kv_a_proj_with_mqa", "kv_a", 60, .plain),
    ("model.layers.60.self_attn.kv_b_proj", "kv_b", 60, .plain),
    ("model.layers.2.self_attn.qkv_proj", "qkv", 2, .plain),
    ("model.layers.2.mlp.gate_up_proj", "gate_up", 2, .plain),
    ("model.layers.2.mlp.gate", "router", 2, .plain), ("transformer.h.8.attn.out_proj", "o", 8, .plain),
  ])
  func `a linear's kind, layer and part are read from its name`(
    name: String, kind: String, layer: Int, part: LinearPlace.Part
  ) {
    let place = LinearPlace(name)
    #expect(place.kind == kind && place.layer == layer && place.part == part)
  }

  @Test(arguments: [
    "lm_head", "block_sparse_moe.experts.0.w1", "visual.blocks.3.attn.qkv_proj", "model.vision_tower.layers.0.q_proj",
    "mtp.layers.0.mlp.up_proj", "", ".", "weight",
  ])
  func `linears outside the decoder have no decoder layer`(name: String) { #expect(LinearPlace(name).layer == nil) }

  @Test func `experts of a layer share a place, layers and stacks do not`() {
    let place = LinearPlace("model.layers.3.mlp.experts.12.down_proj")
    #expect(place == LinearPlace("model.layers.3.mlp.experts.40.down_proj.weight"))
    #expect(place.pattern == "model.layers.3.mlp.experts.*.down_proj")
    #expect(place != LinearPlace("model.layers.4.mlp.experts.12.down_proj"))
    #expect(place != LinearPlace("model.layers.3.mlp.shared_experts.down_proj"))
    #expect(LinearPlace.expert("model.layers.3.mlp.experts.12.down_proj") == 12)
    #expect(LinearPlace.expert("model.layers.3.mlp.down_proj") == nil)
  }
}
