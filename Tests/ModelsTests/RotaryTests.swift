import Foundation
import Models
import StrictJSON
import Testing

/// The numbers of facts/architectures.md §3 have up to eight digits, computed in float32.
private let frequencyTolerance = 1e-6

@Suite struct RotaryTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    let rope: JSONObject
    let head: Int
    let expected: [Int: Double]
    var amplitude = 1.0
    var testDescription: String { name }
  }

  static let cases = [
    Case(
      name: "plain", rope: ["rope_theta": 10_000], head: 4, expected: [0: 1, 1: 0.01]),
    Case(
      name: "linear", rope: ["rope_theta": 10_000, "rope_scaling": ["type": "linear", "factor": 4]], head: 4,
      expected: [0: 0.25, 1: 0.0025]),
    Case(
      name: "Llama-3.1-8B", rope: llama3(factor: 8), head: 128,
      expected: [
        1: 0.81461723, 28: 0.003211446, 29: 0.0021665708, 30: 0.0013718936, 35: 9.5562124e-05, 36: 7.7846553e-05,
        63: 3.068926e-07,
      ]),
    Case(
      name: "Llama-3.2-1B", rope: llama3(factor: 32), head: 64,
      expected: [14: 0.003211446, 15: 0.0012905479, 17: 9.7082878e-05, 18: 1.9461638e-05, 31: 9.4183067e-08]),
    Case(
      name: "Qwen2.5 with YaRN",
      rope: [
        "rope_theta": 1_000_000,
        "rope_scaling": ["type": "yarn", "factor": 4, "original_max_position_embeddings": 32768],
      ], head: 128, expected: [20: 0.013335214, 30: 0.001064361, 40: 4.4456985e-05, 63: 3.1023444e-07],
      amplitude: 1.138629),
    Case(
      name: "DeepSeek-V3's YaRN",
      rope: [
        "rope_parameters": [
          "rope_type": "yarn", "rope_theta": 10_000, "factor": 40, "original_max_position_embeddings": 4096,
          "beta_fast": 32, "beta_slow": 1, "mscale": 1, "mscale_all_dim": 1,
        ]
      ], head: 64,
      expected: [
        10: 0.056234133, 11: 0.039006927, 16: 0.0055, 22: 0.00017782794, 23: 3.3338036e-05, 31: 3.3338036e-06,
      ]),
    Case(
      name: "gpt-oss's YaRN, ends not whole",
      rope: [
        "rope_parameters": [
          "rope_type": "yarn", "rope_theta": 150_000, "factor": 32, "original_max_position_embeddings": 4096,
          "beta_fast": 32, "beta_slow": 1, "truncate": false,
        ]
      ], head: 64,
      expected: [
        8: 0.050813275, 9: 0.031705696, 12: 0.0067949595, 17: 0.0001293187, 18: 3.8308812e-05, 31: 3.0235114e-07,
      ], amplitude: 1.346574),
  ]

  private static func llama3(factor: Int) -> JSONObject {
    [
      "rope_theta": 500_000,
      "rope_scaling": [
        "rope_type": "llama3", "factor": .integer(factor), "low_freq_factor": 1, "high_freq_factor": 4,
        "original_max_position_embeddings": 8192,
      ],
    ]
  }

  @Test(arguments: cases) func `frequencies are those of the reference`(_ known: Case) throws {
    let rotary = try ConfigurationReader(known.rope, file: "test").rotaryEmbedding(dimension: known.head)
    let found = rotary.frequencies(positions: 16)
    #expect(found.count == known.head / 2)
    for (index, expected) in known.expected {
      #expect(abs(found[index] / expected - 1) < frequencyTolerance, "channel \(index): \(found[index])")
    }
    #expect(abs(rotary.amplitude - known.amplitude) < frequencyTolerance)
  }

  @Test func `an explicit attention factor wins over the one implied`() throws {
    let rope: JSONObject = [
      "max_position_embeddings": 32768,
      "rope_scaling": ["rope_type": "yarn", "factor": 4, "attention_factor": .number("1.5")],
    ]
    let rotary = try ConfigurationReader(rope, file: "test").rotaryEmbedding(dimension: 128)
    #expect(rotary.amplitude == 1.5)
    // Without original positions those of the configuration count.
    guard case .yarn(let yarn) = rotary.scaling else {
      Issue.record("\(rotary.scaling)")
      return
    }
    #expect(yarn.originalPositions == 32768 && yarn.betaFast == 32 && yarn.betaSlow == 1 && yarn.truncates)
  }

  @Test func `an explicit rope_scaling wins over rope_parameters`() throws {
    let rope: JSONObject = [
      "rope_theta": 10_000, "rope_scaling": ["rope_type": "linear", "factor": 2],
      "rope_parameters": ["rope_type": "default", "rope_theta": 10_000],
    ]
    let rotary = try ConfigurationReader(rope, file: "test").rotaryEmbedding(dimension: 8)
    #expect(rotary.scaling == .linear(factor: 2))
  }

  @Test func `long factors hold for texts that are longer than the original positions`() throws {
    let rope: JSONObject = [
      "max_position_embeddings": 128, "original_max_position_embeddings": 16, "partial_rotary_factor": .number("0.5"),
      "rope_scaling": ["type": "su", "short_factor": [1, 2], "long_factor": [4, 8]],
    ]
    let rotary = try ConfigurationReader(rope, file: "test").rotaryEmbedding(dimension: 8, partial: 1)
    #expect(rotary.dimension == 4)
    #expect(rotary.frequencies(positions: 16) == [1, 0.005])
    #expect(rotary.frequencies(positions: 17) == [0.25, 0.00125])
    #expect(abs(rotary.amplitude - (1 + log(8.0) / log(16.0)).squareRoot()) < frequencyTolerance)
  }

  @Test(arguments: ["dynamic", "mrope", "default"]) func `kinds that scale nothing below the positions of a model`(
    _ kind: String
  ) throws {
    let rope: JSONObject = ["rope_scaling": ["type": .string(kind), "mrope_section": [1, 1]]]
    let rotary = try ConfigurationReader(rope, file: "test").rotaryEmbedding(dimension: 4)
    #expect(rotary == RotaryEmbedding(base: 10_000, dimension: 4))
  }

  struct Refusal: Sendable, CustomTestStringConvertible {
    let rope: JSONValue
    let key: String
    var head = 64
    var testDescription: String { "\(key) of \(rope.compactText)" }
  }

  @Test(arguments: [
    Refusal(rope: ["type": "longrope", "factor": 2], key: "original_max_position_embeddings"),
    Refusal(
      rope: ["rope_type": "su", "original_max_position_embeddings": 2048, "short_factor": [1]],
      key: "rope_scaling.short_factor"),
    Refusal(
      rope: ["rope_type": "su", "original_max_position_embeddings": 1, "short_factor": [1]],
      key: "rope_scaling.original_max_position_embeddings"),
    Refusal(rope: ["rope_type": "dynamic", "alpha": 50], key: "rope_scaling.alpha"),
    Refusal(rope: ["rope_type": "proportional"], key: "rope_scaling.rope_type"),
    Refusal(rope: ["rope_type": "yarn", "factor": 2, "mscale": -1], key: "rope_scaling.mscale"),
    Refusal(rope: ["full_attention": ["rope_type": "default"]], key: "rope_scaling.full_attention"),
    Refusal(rope: ["rope_type": "linear"], key: "rope_scaling.factor"),
    Refusal(rope: ["rope_type": "linear", "factor": "2"], key: "rope_scaling.factor"),
    Refusal(rope: ["rope_type": "linear", "factor": -1], key: "rope_scaling.factor"),
    Refusal(rope: ["rope_type": "llama3", "factor": 8, "low_freq_factor": 1], key: "rope_scaling.high_freq_factor"),
    Refusal(
      rope: [
        "rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4,
        "original_max_position_embeddings": 8192,
      ], key: "rope_scaling.high_freq_factor"),
    Refusal(rope: ["rope_type": "yarn"], key: "rope_scaling.factor"),
    Refusal(
      rope: ["rope_type": "default", "partial_rotary_factor": .number("0.5")], key: "rope_scaling.partial_rotary_factor"
    ),
    Refusal(rope: ["rope_type": 3], key: "rope_scaling.rope_type"),
    Refusal(rope: "linear", key: "rope_scaling"),
    Refusal(rope: ["rope_type": "default"], key: "head_dim", head: 63),
  ])
  func `a rotary embedding that is not known is refused by its key`(_ refusal: Refusal) throws {
    let object: JSONObject = ["rope_theta": 10_000, "max_position_embeddings": 4096, "rope_scaling": refusal.rope]
    #expect {
      _ = try ConfigurationReader(object, file: "test").rotaryEmbedding(dimension: refusal.head)
    } throws: {
      guard case .configuration("test", let key, _)? = $0 as? ModelError else { return false }
      return key == refusal.key
    }
  }
}
