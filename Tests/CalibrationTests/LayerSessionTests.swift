import Kernels
import Quantization
import Synchronization
import Tensors
import TestSupport
import Testing

@testable import Calibration
@testable import Models

@Suite(.serialized) struct LayerSessionTests {
  static let w4 = QuantizationScheme.w4a16Asymmetric.withGroupSize(32)

  /// The most rows that were asked for at once.
  private final class Most: Sendable {
    private let value = Mutex(0)
    var rows: Int { value.withLock { $0 } }
    func see(_ count: Int) { value.withLock { $0 = max($0, count) } }
    func forget() { value.withLock { $0 = 0 } }
  }

  /// The same layer with weights that tell how many rows are asked for.
  private static func counting(_ layer: DecoderLayer, _ most: Most) throws -> DecoderLayer {
    var result = layer
    for name in layer.layout.linears.map(\.name) {
      var linear = try layer.linear(name)
      let rows = linear.rows
      linear.weight = .rows(
        WeightRows(outFeatures: rows.outFeatures, inFeatures: rows.inFeatures, storedType: rows.storedType) {
          range, floats in
          most.see(range.count)
          rows.copyRows(range, to: floats)
        })
      result.replace(name, by: linear)
    }
    return result
  }

  @Test(arguments: [w4, .fp8, .fp8Block, .w8a16])
  func `no more than a tile of rows is asked for at once`(scheme: QuantizationScheme) throws {
    var tiny = TinyLayer(heads: 20, keyValueHeads: 10, intermediateSize: 600)
    let most = Most()
    tiny.layer = try Self.counting(tiny.layer, most)
    // Products take 256 rows at a time, searches and rounding fewer.
    let found = try tiny.quantized(
      tiny.all(scheme), calibration: tiny.hiddenStates(100, seed: 2), heldOut: tiny.hiddenStates(40, seed: 3))
    #expect(most.rows > 0 && most.rows <= 256, "\(most.rows) rows")
    most.forget()
    #expect(found.isFinite)
    #expect(most.rows > 0 && most.rows <= 64, "\(most.rows) rows")
  }

  @Test func `the weights of experts are asked for in tiles too`() throws {
    var tiny = TinyMixture(width: 600).tiny
    let most = Most()
    tiny.layer = try Self.counting(tiny.layer, most)
    let found = try tiny.quantized(
      tiny.all(Self.w4), calibration: tiny.hiddenStates(100, seed: 2), heldOut: tiny.hiddenStates(40, seed: 3))
    #expect(most.rows > 0 && most.rows <= 256, "\(most.rows) rows")
    #expect(found.isFinite)
  }

  @Test func `the hidden states behind the layer are the full-precision layer's, whatever is asked for`() throws {
    let tiny = TinyLayer()
    let (search, heldOut) = (tiny.hiddenStates(90, seed: 2), tiny.hiddenStates(30, seed: 3))
    let expected = try [search, heldOut].map { try tiny.output(tiny.layer, $0) }
    for asked in [[], ["self_attn.o_proj"], ["mlp.down_proj", "self_attn.q_proj"], tiny.names] {
      let states = try CalibrationStates(
        search: HiddenStates(search, Sequences(lengths: [90])),
        heldOut: HiddenStates(heldOut, Sequences(lengths: [30])),
        reserve: nil)
      let session = LayerSession(tiny.quantizer(tiny.all(Self.w4)), states: states, tables: tiny.tables)
      for name in asked { _ = try session.weight(name) }
      try session.finish()
      try session.finish()
      for (found, expected) in zip(states.all, expected) { #expect(try found.read(0) == expected, "\(asked)") }
    }
  }

  // MARK: Families

  @Test(arguments: FamilyFolders.loaded)
  func `every layer of every family goes through a session`(family: String) throws {
    let model = try FamilyFolders.model(family)
    let ids = try FamilyFolders.ids(family)
    let tables = model.rotaryTables(positions: ids.count)
    let parts = [Array(ids.prefix(15)), Array(ids.suffix(9)), Array(ids.reversed())]
    func embedded() throws -> [HiddenStates] {
      try parts.map { HiddenStates(try model.embedding()($0), Sequences(lengths: [$0.count])) }
    }
    let (found, expected) = (try embedded(), try embedded())
    for index in model.layouts.indices {
      let layer = try model.layer(index)
      let scheme = QuantizationScheme.w4a16Asymmetric.withGroupSize(16)
      let schemes = Dictionary(
        uniqueKeysWithValues: layer.layout.linears.filter { !$0.isRouter }.map { ($0.name, scheme) })
      let quantizer = LayerQuantizer(
        layer: layer, schemes: schemes, methods: schemes.mapValues { _ in .awq }, storedType: .bfloat16)
      let states = try CalibrationStates(search: found[0], heldOut: found[1], reserve: found[2])
      let result = try TinyResult(quantizer, states, tables, quota: 6)
      #expect(result.isFinite && result.weights.count == layer.layout.linears.count, "layer \(index)")
      #expect(result.inputMaxima.count == layer.layout.linears.count && result.inputMaxima.values.allSatisfy { $0 > 0 })
      #expect(result.folds.count == layer.layout.folds.count, "layer \(index)")
      for fold in result.folds where fold.isKept {
        #expect(fold.lossWith < fold.lossWithout && fold.lossWith.isFinite, "layer \(index), \(fold.title)")
      }
      for (states, reference) in zip(found, expected) {
        try layer(reference, tables: tables)
        let distance = try states.read(0).distance(to: reference.read(0))
        #expect(distance <= 1e-5, "layer \(index): \(distance)")
      }
    }
  }
}
