internal import Calibration
internal import Kernels
internal import Models
internal import Quantization
internal import Reports
internal import Tensors

/// How many windows of calibration text a model takes: found on its first layer, where text is cheap.
///
/// The number is doubled until another doubling hardly lowers the error that rounding leaves on held-out text. A smaller
/// number's windows are among those of a larger one, so that each is run through the layer once.
struct SampleConvergence: Sendable {
  /// What was measured, in the order of the numbers; empty where there was nothing to choose.
  let measured: [Report.Calibration.Convergence]
  /// How many there are to be.
  let samples: Int

  /// The most windows that are taken unless a recipe asks for more.
  static let limit = 128
  /// The fewest that are tried.
  private static let fewest = 16
  /// By how much a doubling must lower the error.
  ///
  /// Later layers gain two to four times as much as the first: where the error of the pocket models' first layer falls by
  /// 1 %, the divergence of the whole falls by 2 to 4 %.
  private static let gain = 0.01

  /// Measures.
  ///
  /// - Parameter windows: of a text, thinned to ``limit``.
  static func find(
    _ model: LanguageModel, _ plan: QuantizationPlan, _ windows: TokenWindows, memory: MemoryPlan,
    progress: ProgressHandler
  ) throws -> SampleConvergence {
    let most = windows.windows.count
    let tried = numbers(model, plan, windows)
    let judged = judged(windows, tokens: 2 * memory.heldOutTokens)
    guard tried.count > 1, !judged.isEmpty else {
      return SampleConvergence(measured: [], samples: most)
    }
    let tables = model.rotaryTables(positions: windows.length)
    let embedding = try model.embedding()
    func states(_ places: [Int]) throws -> HiddenStates {
      let chunks = Sequences.chunks(places.map { windows[$0] }, rows: memory.chunkRows)
      let states = try HiddenStates(
        chunks: chunks.map { Sequences(lengths: $0.map(\.count)) }, columns: model.configuration.hiddenSize)
      for (index, chunk) in chunks.enumerated() { try states.write(try embedding(chunk.flatMap(\.self)), to: index) }
      return states
    }
    guard var pilot = try SamplePilot(quantizer(model, plan), heldOut: try states(judged), tables: tables) else {
      return SampleConvergence(measured: [], samples: most)
    }
    let together = max(1, memory.chunkRows / windows.length)
    var heard = Set(windows.heldOutPlaces.heldOut)
    var found: [Report.Calibration.Convergence] = []
    var chosen = most
    for (index, number) in tried.enumerated() {
      progress(ProgressEvent("samples", done: index, of: tried.count, "\(number) samples through layer 0"))
      let places = windows.limited(to: number).heldOutPlaces.search.filter { heard.insert($0).inserted }
      // A few at a time: nothing of them is needed again.
      for first in stride(from: 0, to: places.count, by: together) {
        try Interruption.check("stopped while choosing the number of samples")
        try pilot.add(try states(Array(places[first..<min(first + together, places.count)])))
      }
      guard let error = pilot.error() else { break }
      found.append(.init(samples: number, error: error))
      guard found.count > 1, error > (1 - gain) * found[found.count - 2].error else { continue }
      chosen = found[found.count - 2].samples
      break
    }
    model.discardPages()
    let result = SampleConvergence(measured: found, samples: chosen)
    progress(ProgressEvent("samples", done: tried.count, of: tried.count, result.sentence))
    return result
  }

  /// The numbers that there are to choose from: doublings, and all there are.
  static func numbers(_ model: LanguageModel, _ plan: QuantizationPlan, _ windows: TokenWindows) -> [Int] {
    let most = windows.windows.count
    guard !looksForLargest(plan) else { return [most] }
    // Fewer than rounding with feedback and clipping are known to need are not tried.
    let enough = sequence(first: fewest) { 2 * $0 }.prefix { $0 < most }.drop { number in
      let texts = CalibrationTexts(windows.limited(to: number), reserve: [])
      return !CalibrationAmount(texts, plan, model).remarks.isEmpty
    }
    return enough + [most]
  }

  /// Whether largest values are looked for, of activations or of keys and values: more text always finds larger ones.
  private static func looksForLargest(_ plan: QuantizationPlan) -> Bool {
    plan.linears.contains { $0.scheme?.hasStaticActivationScales ?? false }
      || plan.units.contains { unit in unit.steps.contains { if case .cacheScales = $0 { true } else { false } } }
  }

  /// Windows that no number of them learns from, taken evenly.
  private static func judged(_ windows: TokenWindows, tokens limit: Int) -> [Int] {
    let places = windows.windows.count > 1 ? windows.heldOutPlaces.heldOut : []
    let count = min(places.count, max(1, limit / windows.length))
    return (0..<count).map { places[$0 * places.count / count] }
  }

  /// How the first layer is rounded.
  ///
  /// Steps of entropy-coded linears are not known yet, and measuring what they are chosen
  /// by takes the text: 4-bit integers in groups of 128 stand in for them, which lose about as much.
  private static func quantizer(_ model: LanguageModel, _ plan: QuantizationPlan) throws -> LayerQuantizer {
    let prefix = model.layerPrefix(0)
    var schemes: [String: QuantizationScheme] = [:]
    var methods: [String: Method] = [:]
    for linear in plan.units.first(where: { $0.layer == 0 })?.steps ?? [] {
      guard case .quantize(let linear) = linear, let scheme = linear.scheme else { continue }
      let local = String(linear.name.dropFirst(prefix.count))
      schemes[local] = scheme.isEntropyCoded ? QuantizationScheme.w4a16Asymmetric.fitted(to: linear.inFeatures) : scheme
      methods[local] = linear.method
    }
    let layer = try model.layer(0)
    return LayerQuantizer(
      layer: layer, schemes: schemes, methods: methods,
      storedType: try model.scaleBaseType(ofLinear: prefix + layer.layout.linears[0].name))
  }

  /// What was found, for a person.
  private var sentence: String {
    let start = "calibrating with \(samples) samples"
    guard let last = measured.last, measured.count > 1 else { return start }
    let before = measured[measured.count - 2]
    func percent(_ share: Double) -> String { "\((share * 1000).rounded() / 10) %" }
    if samples == before.samples {
      let gain = 1 - last.error / before.error
      return start + ": \(last.samples) would "
        + (gain > 0 ? "lower the error of layer 0 by \(percent(gain))" : "not lower the error of layer 0")
    }
    return start + ", the most there are: with \(before.samples) the error of layer 0 is "
      + "\(percent(before.error / last.error - 1)) higher"
  }
}
