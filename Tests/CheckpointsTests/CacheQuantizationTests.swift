import Checkpoints
import Quantization
import StrictJSON
import Tensors
import TestSupport
import Testing

/// How keys and values are kept: what is declared, and the scales that runtimes read.
@Suite struct CacheQuantizationTests {
  private static func stored(
    _ scheme: JSONValue, _ scales: [(name: String, tensor: Tensor)] = []
  ) throws -> (StoredQuantization, MemorySource) {
    let weight = Matrix(rows: 16, columns: 32, values: [Float](repeating: 0.5, count: 512))
    let tensor = RoundToNearest.quantized(weight, as: QuantizationScheme.fp8Dynamic.weights, scaleType: .float32)
    var json =
      CompressedTensorsConfiguration(groups: [.init(scheme: .fp8Dynamic, targets: ["Linear"])], ignore: []).json()
      .objectValue ?? [:]
    json["kv_cache_scheme"] = scheme
    let linear = StoredLinear(
      tensors: CompressedTensorsLayout.encode(tensor, linear: "m") + scales, configuration: .object(json),
      shape: [16, 32])
    return (try #require(try linear.quantization()), MemorySource(linear.tensors))
  }

  private static func scheme(_ format: CacheQuantization.Format) -> JSONValue {
    CompressedTensorsConfiguration(groups: [], ignore: [], cache: CacheQuantization(format)).json()["kv_cache_scheme"]
      ?? .null
  }

  @Test(arguments: CacheQuantization.Format.allCases)
  func `what is written is read`(format: CacheQuantization.Format) throws {
    let names = CacheQuantization.scaleNames("a.self_attn")
    let (stored, source) = try Self.stored(
      Self.scheme(format),
      [(names.keys, Tensor([1], floats: [0.5])), (names.values, Tensor([1], floats: [0.25]))])
    #expect(stored.cache == CacheQuantization(format) && stored.warnings.isEmpty)
    let found = try #require(try stored.cacheRounding(of: "a.self_attn", from: source, file: "f"))
    #expect(found.keys == ActivationRounding(format.number, scale: 0.5))
    #expect(found.values == ActivationRounding(format.number, scale: 0.25))
    #expect(format.scale(of: format == .fp8 ? 448 : 127) == 1 && format.scale(of: 0) == 1)
  }

  @Test(arguments: ["k_scale", "k_proj.k_scale", "k_proj.output_scale", "attn.k_scale", "kv_scale"])
  func `scales go by the names that runtimes read, and one that is missing is 1`(name: String) throws {
    let (stored, source) = try Self.stored(
      Self.scheme(.fp8), [("a.self_attn." + name, Tensor([], floats: [0.125]))])
    let found = try #require(try stored.cacheRounding(of: "a.self_attn", from: source, file: "f"))
    #expect(found.keys == ActivationRounding(.float8E4M3, scale: 0.125))
    #expect(found.values == ActivationRounding(.float8E4M3, scale: name == "kv_scale" ? 0.125 : 1))
  }

  @Test(arguments: [Float.nan, 0, -1, .infinity])
  func `a scale that is no scale is refused`(scale: Float) throws {
    let (stored, source) = try Self.stored(
      Self.scheme(.fp8), [("a.self_attn.v_scale", Tensor([1], floats: [scale]))])
    #expect(throws: CheckpointError.self) {
      try stored.cacheRounding(of: "a.self_attn", from: source, file: "f")
    }
  }

  @Test(
    arguments: [("num_bits", 4), ("strategy", "attn_head"), ("dynamic", true), ("symmetric", false)]
      as [(
        String, JSONValue
      )])
  func `what is not carried out is warned of`(key: String, value: JSONValue) throws {
    var scheme = Self.scheme(.fp8).objectValue ?? [:]
    scheme[key] = value
    let (stored, source) = try Self.stored(.object(scheme))
    #expect(stored.cache == nil && stored.warnings.count == 1)
    #expect(try stored.cacheRounding(of: "a.self_attn", from: source, file: "f") == nil)
  }
}
