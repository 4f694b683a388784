public import Quantization
internal import StrictJSON
internal import Tensors

/// How the keys and values of attention are kept: one number format, a scale for each layer's keys and one for its values.
public struct CacheQuantization: Hashable, Sendable {
  /// Formats that are read and made.
  public enum Format: String, Hashable, Sendable, CaseIterable {
    /// float8 E4M3.
    case fp8
    /// Integers of eight bits.
    case int8

    /// How one number is stored.
    public var number: NumberFormat { self == .fp8 ? .float8E4M3 : .int(bits: 8) }

    /// The scale at which a largest magnitude is the format's largest number; 1 where there was none.
    public func scale(of magnitude: Float) -> Float {
      let scale = magnitude / (self == .fp8 ? Float8E4M3.largest : 127)
      return scale.isNormal ? scale : 1
    }
  }

  /// The format of both.
  public let format: Format

  /// Keys and values of a format.
  public init(_ format: Format) { self.format = format }

  /// The tensors of a layer's scales, by the name of its attention: what vLLM reads.
  public static func scaleNames(_ attention: String) -> (keys: String, values: String) {
    (attention + ".k_scale", attention + ".v_scale")
  }
}

extension CacheQuantization {
  /// Reads `kv_cache_scheme` of compressed-tensors or `kv_cache_quant_algo` of ModelOpt; `nil` for what is not carried out.
  init?(_ declaration: QuantizationDeclaration) {
    if let algorithm = declaration.value("kv_cache_quant_algo") {
      guard algorithm.stringValue?.uppercased() == "FP8" else { return nil }
      self.init(.fp8)
      return
    }
    guard let scheme = declaration.value("kv_cache_scheme"), scheme["num_bits"] == 8, scheme["dynamic"] != true,
      scheme["symmetric"] != false, [nil, "tensor"].contains(scheme["strategy"]?.stringValue)
    else { return nil }
    switch scheme["type"]?.stringValue {
    case "float": self.init(.fp8)
    case "int": self.init(.int8)
    default: return nil
    }
  }
}

extension StoredQuantization {
  /// How a layer's keys and values are rounded as they enter the cache; `nil` where they stay floats.
  ///
  /// A scale that is not there is 1, as for runtimes.
  ///
  /// - Parameters:
  ///   - attention: the module, such as `model.layers.0.self_attn`.
  ///   - file: for messages.
  public func cacheRounding(
    of attention: String, from source: any WeightSource, file: String
  ) throws(CheckpointError) -> (keys: ActivationRounding, values: ActivationRounding)? {
    guard let cache else { return nil }
    let tensors = LinearTensors(linear: attention, source: source, file: file)
    func scale(_ letter: String) throws(CheckpointError) -> Float {
      let parts = [
        ".\(letter)_scale", ".\(letter)_proj.\(letter)_scale", ".\(letter)_proj.output_scale", ".attn.\(letter)_scale",
        ".kv_scale",
      ]
      for part in parts where tensors.info(part) != nil { return try tensors.number(part) }
      return 1
    }
    return (
      ActivationRounding(cache.format.number, scale: try scale("k")),
      ActivationRounding(cache.format.number, scale: try scale("v"))
    )
  }
}
