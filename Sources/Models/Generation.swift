internal import Foundation
internal import Kernels
internal import Tensors

/// How the next token is drawn.
public struct Sampling: Sendable {
  /// Divides the logits; zero takes the likeliest token.
  public var temperature: Float
  /// Only the likeliest so many tokens; zero takes all.
  public var topK: Int
  /// Only the likeliest tokens whose probabilities add up to this.
  public var topP: Float
  /// The same seed draws the same text.
  public var seed: UInt64

  /// A way of drawing; greedy by default.
  public init(temperature: Float = 0, topK: Int = 0, topP: Float = 1, seed: UInt64 = 0) {
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
    self.seed = seed
  }

  /// Draws one token.
  func token(from logits: ArraySlice<Float>, using generator: inout SplitMix64) -> Int {
    let logits = Array(logits)
    guard temperature > 0 else {
      return logits.indices.max { (logits[$0], -$0) < (logits[$1], -$1) } ?? 0
    }
    var order = logits.indices.sorted { (logits[$0], -$0) > (logits[$1], -$1) }
    if topK > 0 { order = Array(order.prefix(topK)) }
    let top = logits[order.first ?? 0]
    var weights = order.map { exp(Double((logits[$0] - top) / temperature)) }
    let total = weights.reduce(0, +)
    var kept = 0.0
    for (rank, weight) in weights.enumerated() {
      kept += weight / total
      if kept >= Double(topP) {
        weights.removeSubrange((rank + 1)...)
        break
      }
    }
    var draw = Double(generator.next() >> 11) * 0x1p-53 * weights.reduce(0, +)
    for (rank, weight) in weights.enumerated() {
      draw -= weight
      if draw < 0 { return order[rank] }
    }
    return order[weights.count - 1]
  }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): small, seeded, the same on every machine.
public struct SplitMix64: RandomNumberGenerator, Sendable {
  private var state: UInt64

  /// A generator for one seed.
  public init(seed: UInt64) { state = seed }

  /// The next 64 random bits.
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// A model held in memory that continues one text.
public struct Generator {
  private let embedding: Embedding
  private let layers: [DecoderLayer]
  private let head: Head
  private let caches: [KeyValueCache]
  private let tables: [RotaryTable]
  private let configuration: ModelConfiguration
  private var random: SplitMix64
  private let sampling: Sampling

  /// Loads all layers.
  ///
  /// - Parameter positions: the most tokens the text may come to have.
  public init(_ model: LanguageModel, sampling: Sampling, positions: Int) throws(ModelError) {
    configuration = model.configuration
    guard positions <= configuration.maximumPositions else {
      throw .tooLong(length: positions, maximum: configuration.maximumPositions)
    }
    embedding = try model.embedding()
    var layers: [DecoderLayer] = []
    for index in 0..<configuration.layerCount {
      var layer = try model.layer(index)
      try layer.makeResident()
      layers.append(layer)
    }
    self.layers = layers
    head = try model.head()
    caches = layers.map { _ in KeyValueCache() }
    tables = model.rotaryTables(positions: positions)
    random = SplitMix64(seed: sampling.seed)
    self.sampling = sampling
  }

  /// Reads tokens and draws the one that follows; `nil` when it ends the text.
  ///
  /// - Parameter ids: the prompt at first, then the token drawn last.
  public mutating func next(after ids: [Int]) throws(ModelError) -> Int? {
    let hidden = HiddenStates(try embedding(ids), Sequences(lengths: [ids.count]))
    for (layer, cache) in zip(layers, caches) { try layer(hidden, tables: tables, cache: cache) }
    let states = try hidden.read(0)
    let logits = head(states.rows(states.rows - 1..<states.rows))
    let id = sampling.token(from: logits.row(0), using: &random)
    return configuration.endTokens.contains(id) ? nil : id
  }
}
