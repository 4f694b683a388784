internal import Kernels
internal import Models
internal import Tensors

/// Quantizes the experts of one layer, each with the tokens that come to it.
final class MixtureSession {
  private let mixture: MixtureOfExperts
  private var seats: [ExpertSeats] = []
  private var sums: [HiddenStates] = []
  /// The same of the states that come up through quantized layers, where errors are passed on.
  private var quantized: [(hidden: HiddenStates, seats: ExpertSeats, sums: HiddenStates)] = []
  private var layerInput: [String: InputStatistics] = [:]
  private var normFactors: [Float]?
  private var finished = 0
  private var current: [String: PreparedWeight] = [:]
  private(set) var use = ExpertUse(counts: [])

  /// Experts on which the fold of the norm before them is judged, and their rows.
  private static let judgedExperts = 6
  private static let judgedRows = 256
  /// Rows of the layer's input that stand in for those of an expert which saw too few.
  private static let substituteRows = 512
  /// Held-out rows below which an expert's own fold is judged on any held-out rows, so many of them.
  private static let fewestJudged = 16
  private static let substituteJudged = 64

  init(_ mixture: MixtureOfExperts) { self.mixture = mixture }

  /// Routes all texts, and prepares what every token passes: the norm, the router, the shared expert.
  func open(in session: LayerSession, _ states: CalibrationStates) throws(ModelError) {
    let layer = session.quantizer.layer
    let shared = sharedNames(layer)
    var statistics: [String: InputStatistics] = [:]
    for name in [mixture.router] + shared {
      let key = layer.layout.linear(name)?.reads ?? name
      statistics[key] =
        key == mixture.router ? inputStatistics(session) : session.quantizer.statistics(key, tokens: .max)
    }
    var sample = InputSample()
    for (index, hidden) in states.all.enumerated() {
      let sum = try hidden.zeros()
      var seat = ExpertSeats(count: mixture.count)
      for chunk in hidden.chunks.indices {
        let x = input(layer, try hidden.read(chunk))
        let tap: Tap? =
          switch index {
          case 0: { (name: String, input: Matrix, _: Matrix) in statistics[name]?.add(input) }
          case 1: { (name: String, input: Matrix, _: Matrix) in if statistics[name] != nil { sample.add(name, input) } }
          default: nil
          }
        seat.add(try layer.routes(mixture, x, tap: tap), chunk: chunk)
        if let output = try layer.sharedExpert(mixture, x, tap: tap) { try sum.write(output, to: chunk) }
      }
      seats.append(seat)
      sums.append(sum)
    }
    layerInput = statistics
    use.counts = seats[0].counts
    try searchShared(session, states, shared, sample)
  }

  /// Statistics of the layer's input, with blocks as the experts want them.
  private func inputStatistics(_ session: LayerSession) -> InputStatistics {
    let experts = session.quantizer.layer.layout.linears.first { $0.expert != nil }?.reads
    return session.quantizer.statistics(experts ?? mixture.router, tokens: .max)
  }

  private func input(_ layer: DecoderLayer, _ hidden: Matrix) -> Matrix {
    layer.configuration.norms.feedForwardInput.flatMap { layer.norms[$0] }.map { $0(hidden) } ?? hidden
  }

  private func sharedNames(_ layer: DecoderLayer) -> [String] {
    layer.layout.linears.filter { $0.expert == nil && !$0.name.hasPrefix("self_attn.") && $0.name != mixture.router }
      .map(\.name)
  }

  private func names(of expert: Int, _ layer: DecoderLayer) -> [String] {
    layer.layout.linears.filter { $0.expert == expert }.map(\.name)
  }

  /// Decides the fold of the norm by the shared expert and some others, since all experts have to follow it.
  private func searchShared(
    _ session: LayerSession, _ states: CalibrationStates, _ shared: [String], _ sample: InputSample
  ) throws(ModelError) {
    let (layer, quantizer, mixture) = (session.quantizer.layer, session.quantizer, mixture)
    let seat = seats[1]
    let judged = seat.counts.indices.sorted { (seat.counts[$0], $1) > (seat.counts[$1], $0) }
      .prefix(Self.judgedExperts).filter { seat.counts[$0] > 0 }.sorted()
    var rows: [(expert: Int, hidden: Matrix)] = []
    for expert in judged {
      rows.append((expert, try states.heldOut.gather(Array(seat[expert].places.prefix(Self.judgedRows)))))
    }
    let judgedSample = try states.heldOut.gather(
      (0..<min(Self.judgedRows, states.heldOut.rowCount)).map { .init(chunk: 0, row: $0) })
    let names = [mixture.router] + shared + judged.flatMap { self.names(of: $0, layer) }
    var (initial, biases): ([String: PreparedWeight], [String: [Float]]) = ([:], [:])
    for name in names {
      let linear = try layer.linear(name)
      initial[name] = quantizer.initial(linear, name)
      biases[name] = linear.bias
    }
    let folds = quantizer.folds { $0.block == .feedForward && $0.expert == nil }
    let search = BlockSearch(
      quantizer: quantizer, names: names, folds: folds, initial: initial, biases: biases, norms: [:],
      statistics: { [self] in statistics($0, layer) },
      output: { [self] (candidate: DecoderLayer) throws(ModelError) in
        var values: [Float] = []
        if let output = try candidate.sharedExpert(mixture, input(candidate, judgedSample)) { values += output.values }
        for (expert, hidden) in rows {
          values += try candidate.expert(expert, of: mixture, input(candidate, hidden)).values
        }
        return Matrix(rows: 1, columns: values.count, values: values)
      })
    var found = try search.run()
    try route(through: search.applying(found), states)
    let own = Set([mixture.router] + shared)
    found.weights = found.weights.filter { own.contains($0.key) }
    found.biases = found.biases.filter { own.contains($0.key) }
    normFactors = layer.configuration.norms.feedForwardInput.flatMap { found.normFactors[$0] }
    session.merge(found) { [self] in statistics($0, layer) }
    session.measureActivations(found) { sample[layer.layout.linear($0)?.reads ?? $0] }
  }

  /// Routes the states of the quantized layers as a runtime will: other tokens may come to an expert than in full
  /// precision.
  private func route(through layer: DecoderLayer, _ states: CalibrationStates) throws(ModelError) {
    guard let both = states.quantized else { return }
    for hidden in [both.search, both.heldOut] {
      let sum = try hidden.zeros()
      var seat = ExpertSeats(count: mixture.count)
      for chunk in hidden.chunks.indices {
        let x = input(layer, try hidden.read(chunk))
        seat.add(try layer.routes(mixture, x), chunk: chunk)
        if let output = try layer.sharedExpert(mixture, x) { try sum.write(output, to: chunk) }
      }
      quantized.append((hidden, seat, sum))
    }
  }

  /// Statistics that stand for any linear which has none of its own: those of the layer's input.
  private func statistics(_ name: String, _ layer: DecoderLayer) -> InputStatistics {
    let key = layer.layout.linear(name)?.reads ?? name
    if let found = layerInput[key] { return found }
    if readsInput(name), let input = layerInput[mixture.router] { return input }
    return InputStatistics.uniform(channels: layer.layout.linear(name)?.inFeatures ?? 0)
  }

  // MARK: Experts

  /// An expert's weights; experts before it that were not asked for are passed.
  func weight(_ name: String, of expert: Int, in session: LayerSession) throws(ModelError) -> PreparedWeight? {
    precondition(expert + 1 >= finished, "experts are asked for in order")
    while finished <= expert { try run(finished, session) }
    return current[name]
  }

  /// Passes the experts that are left, and adds what all of them gave to the hidden states.
  func finish(in session: LayerSession) throws(ModelError) {
    while finished < mixture.count { try run(finished, session) }
    guard let states = session.states else { return }
    for (hidden, sum) in zip(states.all, sums) { try session.quantizer.layer.add(sum, to: hidden) }
    for one in quantized { try session.quantizer.layer.add(one.sums, to: one.hidden) }
    // The sums are added once, however often the session is finished.
    sums = []
    quantized = []
    current = [:]
  }

  private func run(_ expert: Int, _ session: LayerSession) throws(ModelError) {
    guard let states = session.states else { return }
    let (quantizer, names) = (session.quantizer, names(of: expert, session.quantizer.layer))
    // Held for this expert alone: its linears are decoded once, not for every piece of its rows.
    var layer = quantizer.layer
    var (initial, biases): ([String: PreparedWeight], [String: [Float]]) = ([:], [:])
    for name in names {
      let linear = try layer.linear(name)
      layer.replace(name, by: linear)
      initial[name] = quantizer.initial(linear, name)
      if let normFactors, readsInput(name) {
        initial[name]?.columnFactors = normFactors
      }
      biases[name] = linear.bias
    }
    let (statistics, sample) = try observe(expert, layer, session, states, names)
    let before = try heldOutRows(of: expert, states)
    let search = BlockSearch(
      quantizer: quantizer, names: names, folds: quantizer.folds { $0.expert == expert }, initial: initial,
      biases: biases, norms: session.result.norms,
      statistics: { statistics[layer.layout.linear($0)?.reads ?? $0] ?? InputStatistics.uniform(channels: 0) },
      output: { [self] (candidate: DecoderLayer) throws(ModelError) in
        try candidate.expert(expert, of: mixture, input(candidate, before))
      })
    let found = try search.run()
    current = found.weights
    let rounded = search.applying(found)
    for one in quantized {
      for piece in one.seats.pieces(of: expert, rows: DecoderLayer.expertRows) {
        let output = try rounded.expert(expert, of: mixture, input(rounded, try one.hidden.gather(piece.places)))
        try one.sums.add(output, to: piece.places, weights: piece.weights)
      }
    }
    for (name, weight) in current {
      let input = statistics[layer.layout.linear(name)?.reads ?? name]
      session.maxima[name] = input?.maximum(dividedBy: weight.columnFactors)
    }
    session.measureActivations(found) { sample[layer.layout.linear($0)?.reads ?? $0] }
    session.result.biases.merge(found.biases) { $1 }
    session.result.folds += found.folds
    finished = expert + 1
  }

  /// Whether a linear of an expert reads what the layer gives to the expert, rather than what is inside.
  private func readsInput(_ name: String) -> Bool {
    guard name.hasPrefix(mixture.prefix) else { return false }
    switch mixture.storage {
    case .modules(let gate, let up, _): return name.hasSuffix("." + gate) || name.hasSuffix("." + up)
    case .stacked(let stacks): return name.hasSuffix("." + stacks.gateUp)
    }
  }

  private func heldOutRows(of expert: Int, _ states: CalibrationStates) throws(ModelError) -> Matrix {
    var places = Array(seats[1][expert].places.prefix(Self.judgedRows))
    if places.count < Self.fewestJudged {
      places = (0..<min(Self.substituteJudged, states.heldOut.rowCount)).map { .init(chunk: 0, row: $0) }
    }
    return try states.heldOut.gather(places)
  }

  /// Runs an expert over its rows of all texts, and keeps the statistics of what its linears read, and some rows of it;
  /// held-out ones unless none came to the expert.
  private func observe(
    _ expert: Int, _ layer: DecoderLayer, _ session: LayerSession, _ states: CalibrationStates, _ names: [String]
  ) throws(ModelError) -> ([String: InputStatistics], InputSample) {
    let count = seats[0].counts[expert]
    var statistics: [String: InputStatistics] = [:]
    for name in names {
      let key = layer.layout.linear(name)?.reads ?? name
      statistics[key] = session.quantizer.statistics(key, tokens: count)
    }
    var sample = InputSample()
    let sampled = seats[1].counts[expert] > 0 ? 1 : 0
    for (index, hidden) in states.all.enumerated() {
      let isSeen = index == 0 || (index == 2 && count < max(1, session.quota))
      let tap: Tap = { (name: String, input: Matrix, _: Matrix) in
        if isSeen { statistics[name]?.add(input) }
        if index == sampled, statistics[name] != nil { sample.add(name, input) }
      }
      for piece in seats[index].pieces(of: expert, rows: DecoderLayer.expertRows) {
        let x = input(layer, try hidden.gather(piece.places))
        let output = try layer.expert(expert, of: mixture, x, tap: isSeen || index == sampled ? tap : nil)
        try sums[index].add(output, to: piece.places, weights: piece.weights)
      }
    }
    // Without any token there is nothing to go by, whatever the quota.
    guard count < max(1, session.quota) else { return (statistics, sample) }
    let seen = count + (seats.count > 2 ? seats[2].counts[expert] : 0)
    if seen >= max(1, session.quota) {
      use.helped[expert] = .moreSamples(tokens: seen)
      return (statistics, sample)
    }
    use.helped[expert] = .layerInput(tokens: seen)
    for name in names where readsInput(name) {
      if let input = layerInput[mixture.router] { statistics[layer.layout.linear(name)?.reads ?? name] = input }
    }
    // What comes out of gate and up is seen by running the expert on tokens of the layer.
    let places = (0..<min(Self.substituteRows, states.search.chunks[0].rowCount)).map {
      HiddenStates.Place(chunk: 0, row: $0)
    }
    let x = input(layer, try states.search.gather(places))
    _ = try layer.expert(expert, of: mixture, x) { [self] name, input, _ in
      if !readsInput(name) { statistics[name]?.add(input) }
    }
    return (statistics, sample)
  }
}
