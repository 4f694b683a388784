import Kernels
import Quantization
import Tensors
import TestSupport
import Testing

@testable import Calibration
@testable import Models

/// Folding changes nothing before weights are rounded, in any family.
@Suite(.serialized) struct FoldedFamiliesTests {
  /// Sums of float32 in another order move the logits of these models by 1e-5 of their spread; a factor that is left
  /// out moves them by much more.
  static let nothing = 1e-6

  @Test func `most families load`() {
    #expect(FamilyFolders.loaded.count >= 12, "\(FamilyFolders.loaded)")
    #expect(FamilyFolders.mixtures.count >= 3, "\(FamilyFolders.mixtures)")
  }

  /// Factors between 1/8 and 8, anything but powers of two.
  private static func factors(_ count: Int, _ generator: inout SeededGenerator) -> [Float] {
    (0..<count).map { index in
      let factor = Float.random(in: 1..<8, using: &generator)
      return index % 2 == 0 ? factor : 1 / factor
    }
  }

  /// The layer with some of its folds applied; `omitted` keeps one reader of each as it was.
  private static func folded(
    _ layer: DecoderLayer, _ folds: [Fold], type: DType, isQuantized: Bool, omitsFirstReader: Bool = false,
    seed: UInt64 = 5
  ) throws -> DecoderLayer {
    var generator = SeededGenerator(seed: seed)
    var result = layer
    var (weights, biases): ([String: PreparedWeight], [String: [Float]]) = ([:], [:])
    for linear in layer.layout.linears {
      let found = try layer.linear(linear.name)
      weights[linear.name] = PreparedWeight(found.rows, scheme: nil, storedType: type)
      biases[linear.name] = found.bias
    }
    for fold in folds {
      let folding = ChannelFolding(fold, layer: layer, bias: { biases[$0] }, storedType: type) { _ in isQuantized }
      let scales = folding.storable(factors((folding.sourceChannel.max() ?? 0) + 1, &generator))
      switch fold.source {
      case .norm(let name): result.norms[name]?.gains = try #require(folding.foldedPin(scales))
      case .rows(let name, _):
        let rows = try #require(layer.layout.linear(name)).outFeatures
        weights[name]?.rowDivisors = folding.rowDivisors(scales, outFeatures: rows)
        if let bias = folding.foldedPin(scales, bias: biases[name]) { biases[name] = bias }
      }
      let columns = folding.columnFactors(scales)
      for name in fold.linears.dropFirst(omitsFirstReader ? 1 : 0) {
        let before = weights[name]?.columnFactors
        weights[name]?.columnFactors = before.map { zip($0, columns).map(*) } ?? columns
      }
    }
    for (name, weight) in weights {
      // What stays floats is stored in the model's own type, and must not lose a bit by that.
      let rows = isQuantized ? weight.scaled : weight.stored
      result.replace(name, by: Linear(name: name, weight: .rows(rows), bias: biases[name]))
    }
    return result
  }

  private struct Case {
    let model: LanguageModel
    let ids: [Int]
    let type: DType
    /// Logits with weights that are read as those of folded layers are, so that sums are in the same order.
    let logits: Matrix

    init(_ family: String) throws {
      model = try FamilyFolders.model(family)
      ids = try FamilyFolders.ids(family)
      let first = model.layerPrefix(0) + model.layouts[0].linears[0].name
      let type = try model.storedType(ofLinear: first)
      self.type = type
      logits = try model.logits(of: ids) { _, layer in
        layer = try FoldedFamiliesTests.folded(layer, [], type: type, isQuantized: true)
      }
    }

    func logits(_ layer: Int, _ fold: Fold, isQuantized: Bool, omitsFirstReader: Bool = false) throws -> Matrix {
      try model.logits(of: ids) { index, decoder in
        decoder = try FoldedFamiliesTests.folded(
          decoder, index == layer ? [fold] : [], type: type, isQuantized: isQuantized,
          omitsFirstReader: omitsFirstReader)
      }
    }
  }

  @Test(arguments: FamilyFolders.loaded)
  func `each fold of each layer leaves the logits as they are`(family: String) throws {
    let example = try Case(family)
    let plain = try example.model.logits(of: example.ids)
    #expect(plain.meanDivergence(from: example.logits) <= Self.nothing)
    for layer in example.model.layouts.indices {
      for fold in example.model.layouts[layer].folds {
        let found = try example.logits(layer, fold, isQuantized: true)
        let divergence = example.logits.meanDivergence(from: found)
        #expect(divergence <= Self.nothing, "layer \(layer), \(fold.title): \(divergence)")
        // Weights that stay floats: powers of two, and not a bit is lost.
        let exact = try example.logits(layer, fold, isQuantized: false)
        #expect(exact == example.logits, "layer \(layer), \(fold.title)")
      }
    }
  }

  @Test(arguments: FamilyFolders.loaded, [true, false])
  func `all folds of all layers together leave the logits as they are`(family: String, isQuantized: Bool) throws {
    let example = try Case(family)
    let found = try example.model.logits(of: example.ids) { index, layer in
      layer = try Self.folded(
        layer, layer.layout.folds, type: example.type, isQuantized: isQuantized, seed: UInt64(index))
    }
    let divergence = example.logits.meanDivergence(from: found)
    #expect(divergence <= Self.nothing, "\(divergence)")
    if !isQuantized { #expect(found == example.logits) }
  }

  @Test(arguments: FamilyFolders.loaded)
  func `a fold that leaves out its first reader would show`(family: String) throws {
    let example = try Case(family)
    for fold in example.model.layouts[0].folds where fold.expert == nil {
      let found = try example.logits(0, fold, isQuantized: true, omitsFirstReader: true)
      let divergence = example.logits.meanDivergence(from: found)
      #expect(divergence > 10 * Self.nothing, "\(fold.title): \(divergence)")
    }
  }

  // MARK: Traps 1 and 9

  @Test(arguments: FamilyFolders.loaded)
  func `a fold reaches every linear that reads its source (trap 1)`(family: String) throws {
    let model = try FamilyFolders.model(family)
    let ids = try FamilyFolders.ids(family)
    for index in model.layouts.indices {
      let layer = try model.layer(index)
      var inputs: [String: Set<[UInt32]>] = [:]
      let hidden = HiddenStates(try model.embedding()(ids), Sequences(lengths: [ids.count]))
      try layer(hidden, tables: model.rotaryTables(positions: ids.count)) { name, input, _ in
        inputs[name, default: []].formUnion((0..<input.rows).map { input.row($0).map(\.bitPattern) })
      }
      for fold in layer.layout.folds {
        // Experts see some of the rows that their router sees.
        guard let source = fold.linears.compactMap({ inputs[$0] }).max(by: { $0.count < $1.count }) else { continue }
        let readers = inputs.filter { !$0.value.isEmpty && $0.value.isSubset(of: source) }.keys
        #expect(Set(readers).isSubset(of: fold.linears), "layer \(index), \(fold.title): \(readers)")
        #expect(
          fold.linears.allSatisfy { inputs[$0]?.isSubset(of: source) ?? true }, "layer \(index), \(fold.title)")
        // Those that no token came to are told by the layout alone.
        for name in fold.linears {
          let linear = try #require(layer.layout.linear(name))
          let reads = try #require(layer.layout.linear(linear.reads))
          #expect(fold.linears.contains(reads.name), "\(name) reads what \(reads.name) reads")
        }
        let openers = layer.layout.linears.filter { linear in
          linear.expert != nil && fold.linears.contains { layer.layout.linear($0)?.isRouter ?? false }
            && !["down", "output_linear", "w2"].contains { linear.name.contains($0) }
        }
        #expect(openers.allSatisfy { fold.linears.contains($0.name) }, "all experts follow the norm")
      }
      #expect(Set(layer.layout.folds.flatMap(\.linears)).count == layer.layout.folds.flatMap(\.linears).count)
    }
  }

  @Test(arguments: FamilyFolders.loaded)
  func `nothing is divided before the rotation, nor beyond the layer (trap 9)`(family: String) throws {
    let model = try FamilyFolders.model(family)
    for (layout, layer) in zip(model.layouts, model.configuration.layers) {
      for fold in layout.folds {
        #expect(fold.linears.allSatisfy { layout.linear($0) != nil })
        switch fold.source {
        case .norm(let name):
          let norms = layer.norms
          let inner = ["self_attn.q_a_layernorm", "self_attn.kv_a_layernorm"]
          #expect([norms.attentionInput, norms.feedForwardInput].contains(name) || inner.contains(name), "\(name)")
        case .rows(let name, let map):
          let linear = try #require(layout.linear(name))
          let inputs = try #require(layout.linear(fold.linears[0])).inFeatures
          let rows = (0..<inputs).map(map.row)
          #expect(rows.allSatisfy { (0..<linear.outFeatures).contains($0) })
          // Of what is rotated or goes through the gate's function, no row is divided.
          var allowed = linear.outFeatures
          switch layer.attention {
          case _ where !name.hasPrefix("self_attn."): allowed = inputs
          case .grouped(let attention): allowed = attention.keyValueHeads * attention.headDimension
          case .latent(let attention): allowed = attention.heads * attention.valueDimension
          }
          #expect(Set(rows).count == allowed, "\(name)")
          if ["qkv_proj", "gate_up_proj", "input_linear"].contains(where: name.hasSuffix) {
            #expect(rows.min() == linear.outFeatures - allowed, "\(name): the last rows are values, or up")
          } else if case .latentValues(let plain, let value) = map {
            #expect(rows.allSatisfy { $0 % (plain + value) >= plain })
          } else {
            #expect(name.hasSuffix("v_proj") || name.hasSuffix("up_proj") || name.hasSuffix("w3"), "\(name)")
          }
        }
      }
    }
  }
}
