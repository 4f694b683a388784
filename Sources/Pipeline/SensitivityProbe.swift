internal import Calibration
internal import Kernels
internal import Models
internal import Quantization
internal import Reports
internal import Tensors

/// Measures how much a model minds errors: the mean KL divergence that noise in what some linears give causes, over the
/// noise's energy.
///
/// What rounding with feedback leaves is nearly white in the output, and small errors add up in the divergence, so
/// KL ≈ Σ s·D with D a linear's squared output error. Every linear is measured by itself in small models; in large
/// ones linears of one kind in neighbouring layers are measured together.
struct SensitivityProbe {
  private let model: LanguageModel
  private let sequences: Sequences
  private let tables: [RotaryTable]
  private let start: Matrix
  private let windows: [[Int]]
  /// Noise energy over the output's, −20 dB: far above rounding of floats, and small enough for a parabola.
  private static let relativeEnergy: Float = 0.01
  /// Most runs of the model.
  private static let mostProbes = 96
  private static let logitRows = 128

  init(_ model: LanguageModel, windows: [[Int]]) throws {
    self.model = model
    self.windows = windows
    sequences = Sequences(lengths: windows.map(\.count))
    tables = model.rotaryTables(positions: windows.map(\.count).max() ?? 0)
    start = try model.embedding()(windows.flatMap(\.self))
  }

  /// KL over squared output error of each linear, by full name; of the ends, over the squared error of their weights.
  ///
  /// - Parameter rowWeights: how much an error in each output of a linear weighs; the noise is weaker where it weighs more.
  func run(
    _ linears: [LinearPlan], rowWeights: [String: [Float]], progress: (Int, Int) throws -> Void
  ) throws -> [String: Double] {
    let groups = groups(linears)
    let reference = try forward(from: 0, HiddenStates(start, sequences), noisy: [])
    var result: [String: Double] = [:]
    // States before the first layer of a group serve all groups that begin there.
    var base = (layer: 0, states: HiddenStates(start, sequences))
    for (index, group) in groups.enumerated() {
      try progress(index, groups.count)
      let found: (divergence: Double, energy: Double)
      if let layer = group.layer {
        while base.layer < layer {
          try model.layer(base.layer)(base.states, tables: tables)
          base.layer += 1
          model.discardPages()
        }
        let meter = EnergyMeter()
        let states = try forward(from: layer, base.states.copy(), noisy: group.names, rowWeights, meter)
        found = (try divergence(reference, states), meter.total)
      } else {
        found = try probeEnd(group.names[0], reference)
      }
      let sensitivity = found.energy > 0 ? found.divergence / found.energy : 0
      for name in group.names { result[name] = sensitivity }
    }
    return result
  }

  private struct Group {
    /// The first layer; `nil` for an end of the model.
    let layer: Int?
    var names: [String]
  }

  private func groups(_ linears: [LinearPlan]) -> [Group] {
    var ends: [Group] = []
    var kinds: [[String: [String]]] = Array(repeating: [:], count: model.configuration.layerCount)
    for plan in linears {
      guard let (layer, local) = model.names.place(plan.name), layer < kinds.count else {
        ends.append(Group(layer: nil, names: [plan.name]))
        continue
      }
      // Experts of a layer are of one kind.
      kinds[layer][ModuleNames.expression(local), default: []].append(plan.name)
    }
    let probes = kinds.reduce(0) { $0 + $1.count }
    let span = max(1, (probes + Self.mostProbes - 1) / Self.mostProbes)
    var result: [Group] = []
    for first in stride(from: 0, to: kinds.count, by: span) {
      var merged: [String: [String]] = [:]
      for layer in first..<min(kinds.count, first + span) { merged.merge(kinds[layer]) { $0 + $1 } }
      result += merged.sorted { $0.key < $1.key }.map { Group(layer: first, names: $0.value) }
    }
    return ends + result
  }

  /// Sums the energy of noise, mean over tokens.
  private final class EnergyMeter: @unchecked Sendable {
    var total = 0.0
  }

  private func forward(
    from first: Int, _ states: HiddenStates, noisy names: [String], _ rowWeights: [String: [Float]] = [:],
    _ meter: EnergyMeter = EnergyMeter()
  ) throws -> Matrix {
    let wanted = Set(names)
    for index in first..<model.configuration.layerCount {
      try Interruption.check("stopped while measuring sensitivities; nothing was written")
      var layer = try model.layer(index)
      let prefix = model.layerPrefix(index)
      if names.contains(where: { $0.hasPrefix(prefix) }) {
        let tokens = Double(sequences.rowCount)
        layer.disturbance = { name, output in
          guard wanted.contains(prefix + name), output.rows > 0 else { return output }
          var random = SplitMix64(seed: UInt64(index) << 32 | UInt64(name.utf8.reduce(5381) { $0 &* 33 &+ UInt32($1) }))
          var result = output
          // In units of what weighs the same, so much in every output.
          let weights = rowWeights[prefix + name] ?? [Float](repeating: 1, count: output.columns)
          var energy: Float = 0
          for row in 0..<output.rows {
            for (value, weight) in zip(output.row(row), weights) { energy += value * weight * value * weight }
          }
          let deviation = (energy / Float(output.values.count) * Self.relativeEnergy).squareRoot()
          for place in result.values.indices {
            result.values[place] += deviation / weights[place % output.columns] * random.normal()
          }
          meter.total += Double(deviation * deviation) * Double(output.values.count) / tokens
          return result
        }
      }
      try layer(states, tables: tables)
      model.discardPages()
    }
    return try states.read(0)
  }

  private func divergence(
    _ reference: Matrix, _ candidate: Matrix, head: Head? = nil
  ) throws -> Double {
    let own = try model.head()
    let other = head ?? own
    var (sum, count) = (0.0, 0)
    for first in stride(from: 0, to: reference.rows, by: Self.logitRows) {
      let rows = first..<min(reference.rows, first + Self.logitRows)
      let scores = try TokenScores(
        reference: own(reference.rows(rows)), candidate: other(candidate.rows(rows)),
        targets: [Int](repeating: 0, count: rows.count))
      for score in scores.positions { sum += score.candidate?.divergence ?? 0 }
      count += rows.count
    }
    return sum / Double(max(1, count))
  }

  /// Noise in the weights of the embedding or the head; a tied table is both.
  private func probeEnd(_ name: String, _ reference: Matrix) throws -> (divergence: Double, energy: Double) {
    let linear = try model.linear(name)
    let rows = linear.rows
    let sample = rows.rows(0..<min(256, rows.outFeatures))
    let mean = sample.values.reduce(Float(0)) { $0 + $1 * $1 } / Float(max(1, sample.values.count))
    let deviation = (mean * Self.relativeEnergy).squareRoot()
    let noisy = Linear(
      name: name,
      weight: .rows(
        WeightRows(outFeatures: rows.outFeatures, inFeatures: rows.inFeatures, storedType: .float32) { range, floats in
          rows.copyRows(range, to: floats)
          for row in range {
            var random = SplitMix64(seed: UInt64(row) &+ 1)
            let start = (row - range.lowerBound) * rows.inFeatures
            for place in start..<start + rows.inFeatures { floats[place] += deviation * random.normal() }
          }
        }), bias: linear.bias)
    let isEmbedding = name == model.names.embedding
    let isHead = !isEmbedding || model.configuration.tiesEmbeddings
    var states = reference
    if isEmbedding {
      let table = Linear(name: name, weight: noisy.weight)
      let hidden = try model.embedding(table: table)(windows.flatMap(\.self))
      states = try forward(from: 0, HiddenStates(hidden, sequences), noisy: [])
    }
    let found = try divergence(reference, states, head: isHead ? try model.head(projection: noisy) : nil)
    return (found, Double(deviation * deviation) * Double(rows.outFeatures) * Double(rows.inFeatures))
  }
}

extension SplitMix64 {
  /// Nearly normal, mean 0 and variance 1: the sum of four uniform numbers.
  fileprivate mutating func normal() -> Float {
    let bits = next()
    let sum = (0..<4).reduce(Float(0)) { $0 + Float((bits >> ($1 * 16)) & 0xFFFF) }
    return (sum / 65_536 - 2) * Float(3).squareRoot()
  }
}
