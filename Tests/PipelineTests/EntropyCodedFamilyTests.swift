import Calibration
import Checkpoints
import Foundation
import Models
import Quantization
import Reports
import Tensors
import TestSupport
import Testing

@testable import Pipeline

/// Every family with a golden model through `--scheme EC`.
@Suite struct EntropyCodedFamilyTests {
  @Test(arguments: FamilyTests.folders)
  func `a family is entropy-coded, and its artifact holds the weights that the report speaks of`(golden: String) throws
  {
    let folder = try TestFolder()
    let path = try FamilyTests.model(golden, in: folder)
    let output = folder("model.tar.zst")
    let recipe = Recipe(
      scheme: .entropyCoded(bits: 8), rate: .bits(4), samples: 24, sequenceLength: 24, expertTokens: 40)
    let run = try QuantizationRun(.init(model: path, output: output, recipe: recipe))
    let outcome = try run.execute()
    #expect(outcome.ledger.entries.count == run.model.checkpoint.weights.tensors.count)
    let artifact = try Artifact(path: output)
    try artifact.check()
    var request = Verification.Request(reference: path, candidate: output)
    (request.tokens, request.sequenceLength) = (480, 24)
    let report = try Verification.run(request)
    let kl = report.accuracy?.comparison?.divergence.mean.value ?? .nan
    // Random weights 32 channels wide; a linear that is loaded wrongly is off by whole nats.
    #expect(kl > 0 && kl < 0.3, "\(golden.split(separator: "/").last.map(String.init) ?? ""): \(kl)")
    #expect(report.layers.count == run.model.linearNames.count)
    let ratios = Dictionary(uniqueKeysWithValues: report.layers.map { ($0.name, $0.sqnr) })
    let result = try ModelInputs.openModel(output)
    for plan in run.plan.linears where plan.scheme != nil {
      let stored = try Self.weights(plan, artifact)
      let read = try result.linear(plan.name).rows.matrix().values
      #expect(stored == read, "\(plan.name)")
      #expect(read.contains { $0 != 0 }, "\(plan.name)")
      let source = try run.model.linear(plan.name).rows.matrix().values
      let (error, energy) = zip(source, read).reduce((0.0, 0.0)) {
        ($0.0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)), $0.1 + Double($1.0 * $1.0))
      }
      // Errors are let into directions that inputs do not have; what the outputs keep is more.
      #expect(error / energy < 0.3, "\(plan.name): \(error / energy)")
      guard let ratio = ratios[plan.name] else { continue }
      #expect(ratio ?? -99 > 10, "\(plan.name): \(ratio ?? .nan) dB")
    }
  }

  /// A linear's weights by formats/entropy-coded.md alone.
  private static func weights(_ plan: LinearPlan, _ artifact: Artifact) throws -> [Float] {
    let (rows, columns) = (plan.outFeatures, plan.inFeatures)
    func bytes(_ part: String) throws -> [UInt8] {
      try artifact.tensor(plan.name + ".weight_" + part).withBytes { Array($0) }
    }
    let (codes, classes) = (try artifact.tensor(plan.name + ".weight_codes"), try bytes("column_class"))
    let bits = codes.dtype == .int8 ? 8 : 4
    let line = bits == 8 ? rows : (rows + 1) / 2
    let stored = codes.withBytes { Array($0) }
    // The place of each column: those of one class by index.
    let order = classes.indices.sorted { (classes[$0], $0) < (classes[$1], $1) }
    var places = [Int](repeating: 0, count: order.count)
    for (place, column) in order.enumerated() { places[column] = place }
    func digit(_ column: Int, _ row: Int) -> Float {
      guard bits == 4 else { return Float(Int8(bitPattern: stored[places[column] * line + row])) }
      let nibble = stored[places[column] * line + row / 2] >> (row % 2 == 0 ? 0 : 4) & 15
      return Float(nibble < 8 ? Int(nibble) : Int(nibble) - 16)
    }
    func gains(_ part: String, _ one: Int) throws -> [Float] {
      try bytes(part).map { code in
        let exponent = Int(code) - one
        let whole = Int((Double(exponent) / 16).rounded(.down))
        return Float(exp2(Double(exponent - 16 * whole) / 16)) * Float(sign: .plus, exponent: whole, significand: 1)
      }
    }
    let (rowGains, columnGains) = (try gains("row_gain", 192), try gains("column_gain", 128))
    var parts = (0..<columns).map { [$0] }
    if let info = artifact.info(plan.name + ".weight_split_source") {
      let sources = try artifact.tensor(info.name).withBytes { Array($0.bindMemory(to: Int32.self)) }
      for (index, source) in sources.enumerated() where source >= 0 { parts[Int(source)].append(columns + index) }
    }
    return (0..<rows * columns).map { index in
      let (row, column) = (index / columns, index % columns)
      return parts[column].enumerated().reduce(Float(0)) { sum, part in
        let scale = columnGains[column] * Float(sign: .plus, exponent: bits * part.offset, significand: 1)
        return sum + digit(part.element, row) * rowGains[row] * scale
      }
    }
  }
}
