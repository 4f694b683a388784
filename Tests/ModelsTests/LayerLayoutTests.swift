import Checkpoints
import Kernels
import Models
import Tensors
import TestSupport
import Testing

@Suite struct LayerLayoutTests {
  private static let ids = [1, 72, 11, 18, 38, 31, 32, 59, 31, 34, 18, 20, 33, 10, 7, 80]

  // MARK: Tensors

  @Test(arguments: ModelVectors.families) func `a layout names every tensor of its layer and no other`(
    _ family: String
  ) throws {
    let model = try ModelVectors.family(family)
    for (index, layout) in model.layouts.enumerated() {
      let prefix = model.layerPrefix(index)
      let stored = Set(model.checkpoint.weights.tensors.map(\.name).filter { $0.hasPrefix(prefix) })
      var named: Set<String> = []
      for module in layout.modules {
        switch module {
        case .norm(let name, _): named.insert(prefix + name + ".weight")
        case .vector(let name, _): named.insert(prefix + name)
        case .linear(let linear):
          named.insert(model.weightTensor(ofLinear: prefix + linear.name))
          switch linear.bias {
          case .own: named.insert(prefix + linear.name + ".bias")
          case .row(let tensor, _): named.insert(prefix + tensor)
          case .none: break
          }
        }
      }
      #expect(named == stored, "layer \(index)")
    }
  }

  // MARK: Inputs

  @Test(arguments: ModelVectors.families) func `linears that read the same activation say so, and no others`(
    _ family: String
  ) throws {
    let model = try ModelVectors.family(family)
    var inputs: [[String: Matrix]] = model.layouts.map { _ in [:] }
    let plain = try model.logits(of: Self.ids)
    let tap: (Int, String, Matrix, Matrix) -> Void = { layer, name, input, output in
      #expect(inputs[layer][name] == nil, "\(name) is shown twice")
      inputs[layer][name] = input
      #expect((try? model.linear(model.layerPrefix(layer) + name)(input)) == output, "\(name)")
    }
    #expect(try model.logits(of: Self.ids, tap: tap) == plain)
    for (layout, inputs) in zip(model.layouts, inputs) {
      // Experts that no token comes to are not shown.
      #expect(layout.linears.filter { $0.expert == nil }.allSatisfy { inputs[$0.name] != nil })
      for linear in layout.linears {
        guard let input = inputs[linear.name] else { continue }
        #expect(inputs[linear.reads] == input, "\(linear.name) reads what \(linear.reads) reads")
        for other in layout.linears where other.reads == other.name && other.name != linear.reads {
          // Two experts may be chosen by the same tokens.
          guard linear.expert == nil || other.expert == nil else { continue }
          #expect(inputs[other.name] != input || linear.expert != nil, "\(linear.name) and \(other.name)")
        }
      }
    }
  }

  // MARK: Folds

  @Test(arguments: ModelVectors.families) func `every fold leaves the function as it was, to the bit`(
    _ family: String
  ) throws {
    let model = try ModelVectors.family(family)
    // Weights as floats throughout, since stored ones go through another kernel where there are few tokens.
    let plain = try model.logits(of: Self.ids, replacing: { try Self.makeFloats(&$0) })
    for (index, layout) in model.layouts.enumerated() {
      for fold in layout.folds {
        var layer = 0
        let folded = try model.logits(
          of: Self.ids,
          replacing: { decoder in
            try Self.makeFloats(&decoder)
            if layer == index { try Self.apply(fold, to: &decoder) }
            layer += 1
          })
        let isSame = folded == plain
        #expect(isSame, "layer \(index): \(fold.title)")
      }
    }
  }

  private static func makeFloats(_ layer: inout DecoderLayer) throws {
    for linear in layer.layout.linears { try scale(linear.name, of: &layer) }
  }

  /// Factors are powers of two, so that nothing is rounded otherwise; a channel of a source has one factor.
  private static func factor(_ channel: Int) -> Float { [0.25, 0.5, 1, 2, 4, 8][channel * 7 % 6] }

  private static func apply(_ fold: Fold, to layer: inout DecoderLayer) throws {
    var channel: (Int) -> Int = { $0 }
    switch fold.source {
    case .norm(let name):
      let gains = try #require(layer.norms[name]).gains
      layer.norms[name]?.gains = gains.enumerated().map { $1 / factor($0) }
    case .rows(let name, let map):
      channel = map.row
      let readers = try #require(layer.layout.linear(fold.linears[0])).inFeatures
      let rows = Set((0..<readers).map(map.row))
      try scale(name, of: &layer, rows: { rows.contains($0) ? 1 / factor($0) : 1 })
    }
    for name in fold.linears { try scale(name, of: &layer, columns: { factor(channel($0)) }) }
  }

  private static func scale(
    _ name: String, of layer: inout DecoderLayer, rows: (Int) -> Float = { _ in 1 },
    columns: (Int) -> Float = { _ in 1 }
  ) throws {
    var linear = try layer.linear(name)
    var matrix = linear.rows.matrix()
    for row in 0..<matrix.rows {
      for column in 0..<matrix.columns { matrix[row, column] *= rows(row) * columns(column) }
    }
    linear.weight = .matrix(matrix)
    linear.bias = linear.bias?.enumerated().map { $1 * rows($0) }
    layer.replace(name, by: linear)
  }

  @Test(arguments: ModelVectors.families) func `norms before a block are folded, all others are not`(
    _ family: String
  ) throws {
    let model = try ModelVectors.family(family)
    for (layer, layout) in zip(model.configuration.layers, model.layouts) {
      var foldable = [layer.norms.attentionInput, layer.norms.feedForwardInput].compactMap { $0 }
      if case .latent(let attention) = layer.attention {
        foldable += ["self_attn.kv_a_layernorm"] + (attention.queryRank == nil ? [] : ["self_attn.q_a_layernorm"])
      }
      let folded = layout.folds.compactMap { fold in
        if case .norm(let name) = fold.source { name } else { nil }
      }
      #expect(folded.sorted() == foldable.sorted())
      #expect(layout.folds.allSatisfy { layer.blocks.contains($0.block) })
    }
  }

  @Test func `what is not linear in its source is not folded`() throws {
    func titles(_ family: String) throws -> [String] {
      try #require(try ModelVectors.family(family).layouts.last).folds.map(\.title)
    }
    // Clipped values; gates with a bound on the other branch.
    #expect(try titles("olmoe").allSatisfy { !$0.hasPrefix("v_proj") })
    #expect(try titles("gpt_oss").allSatisfy { !$0.contains("expert") })
    #expect(try titles("granitemoe").contains("expert 5: input_linear → output_linear"))
    #expect(try titles("cohere")[0] == "input_layernorm → q_proj, k_proj, v_proj, gate_proj, up_proj")
    #expect(try titles("olmo2") == ["v_proj → o_proj", "up_proj → down_proj"])
    #expect(
      try titles("phi3") == [
        "input_layernorm → qkv_proj", "qkv_proj → o_proj", "post_attention_layernorm → gate_up_proj",
        "gate_up_proj → down_proj",
      ])
  }

  @Test func `rows behind the channels of readers`() {
    #expect((0..<3).map(Fold.RowMap.from(4).row) == [4, 5, 6])
    // Two value heads of two rows from row 8, each read by three query heads.
    let heads = Fold.RowMap.valueHeads(from: 8, dimension: 2, repeats: 3)
    #expect((0..<12).map(heads.row) == [8, 9, 8, 9, 8, 9, 10, 11, 10, 11, 10, 11])
    let latent = Fold.RowMap.latentValues(plain: 3, value: 2)
    #expect((0..<4).map(latent.row) == [3, 4, 8, 9])
  }
}
