import Kernels
import Quantization
import Tensors
import TestSupport

@testable import Calibration
@testable import Models

/// A small layer with experts, a shared one among them; how likely each is can be set by the router's bias.
struct TinyMixture {
  var tiny: TinyLayer
  let mixture: MixtureOfExperts

  init(
    width: Int = 48, bias: [Float] = [0, 0, 0, 0, 0, 0], hasShared: Bool = true,
    storage: MixtureOfExperts.Storage? = nil,
    seed: UInt64 = 1
  ) {
    var mixture = MixtureOfExperts(
      count: bias.count, perToken: 2, width: width, routing: Routing(.softmax, normalizes: true))
    mixture.hasRouterBias = true
    if let storage { mixture.storage = storage }
    if hasShared {
      var shared = DenseFeedForward(width: 40)
      shared.prefix = "mlp.shared_expert."
      mixture.shared = .init(shared, gateName: "mlp.shared_expert_gate")
    }
    self.mixture = mixture
    let attention = GroupedAttention(heads: 4, keyValueHeads: 2, headDimension: 16)
    tiny = TinyLayer(
      LayerConfiguration(attention: .grouped(attention), feedForward: .mixture(mixture)), hiddenSize: 64,
      headDimension: 16, seed: seed)
    if var router = try? tiny.layer.linear(mixture.router) {
      router.bias = bias
      tiny.layer.replace(mixture.router, by: router)
    }
  }

  /// What experts and router read: hidden states behind attention, normalised.
  func inputs(_ hidden: Matrix) throws -> Matrix {
    var behind = hidden
    behind += try tiny.delta(tiny.layer, .attention, hidden)
    return tiny.layer.norm("post_attention_layernorm")(behind)
  }

  /// The rows that come to each expert, by the largest logits alone.
  func rows(_ hidden: Matrix) throws -> [[Int]] {
    let logits = try tiny.layer.linear(mixture.router)(inputs(hidden))
    var rows = [[Int]](repeating: [], count: mixture.count)
    for row in 0..<logits.rows {
      let order = (0..<mixture.count).sorted { logits[row, $0] > logits[row, $1] }
      for expert in order.prefix(mixture.perToken) { rows[expert].append(row) }
    }
    return rows
  }

  /// Hidden states cut into texts and chunks.
  static func states(_ hidden: Matrix, chunks: [[Int]], spillFolder: String? = nil) throws -> HiddenStates {
    let result = try HiddenStates(
      chunks: chunks.map { Sequences(lengths: $0) }, columns: hidden.columns, spillFolder: spillFolder)
    var start = 0
    for (index, chunk) in result.chunks.enumerated() {
      try result.write(hidden.rows(start..<start + chunk.rowCount), to: index)
      start += chunk.rowCount
    }
    return result
  }

  func openers(_ expert: Int) -> [String] {
    ["gate_proj", "up_proj"].map { "mlp.experts.\(expert).\($0)" }
  }
}
