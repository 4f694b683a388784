public import StrictJSON

/// The `quantization_config` of a checkpoint with entropy-coded linears: `quant_method` "quantize-ec".
///
/// Which linears are entropy-coded, the tensors say; those that are not and have codes are `others`.
public struct EntropyCodedConfiguration: Sendable {
  /// `quant_method`.
  public static let method = "quantize-ec"
  /// The version of the layout that is written, and the only one that is read.
  public static let version = 1

  /// Modules that stay in full precision: names, or `re:` and a regular expression that is anchored at the start.
  public let ignore: [String]
  /// How linears are stored that have codes of another kind.
  public let others: CompressedTensorsConfiguration?
  /// How runtimes are to keep keys and values.
  public let cache: CacheQuantization?

  /// A configuration to be written.
  public init(
    ignore: [String], others: CompressedTensorsConfiguration? = nil, cache: CacheQuantization? = nil
  ) {
    self.ignore = ignore
    self.others = others
    self.cache = cache
  }

  /// The JSON that `config.json` holds under `quantization_config`.
  public func json() -> JSONValue {
    var object: JSONObject = [
      "quant_method": .string(Self.method), "version": .integer(Self.version),
      "ignore": .array(ignore.map { .string($0) }),
    ]
    if let cache { object["kv_cache_scheme"] = CompressedTensorsConfiguration.json(of: cache) }
    if let others { object["compressed_tensors"] = others.json() }
    return .object(object)
  }
}
