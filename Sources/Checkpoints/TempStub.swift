public import Quantization
public import Tensors

public struct StoredQuantization: Sendable {
  public let method: String
  let configuration: CompressedTensorsConfiguration
  public static func of(_ checkpoint: Checkpoint) throws(CheckpointError) -> StoredQuantization? {
    guard let c = try checkpoint.quantization() else { return nil }
    return StoredQuantization(method: "compressed-tensors", configuration: c)
  }
  public func scheme(of linear: String) -> QuantizationScheme? { configuration.scheme(of: linear) }
  public func storedTensors(of linear: String, in source: any WeightSource) -> [TensorInfo] {
    [".weight", ".weight_packed", ".weight_scale", ".weight_zero_point"].compactMap { source.info(linear + $0) }
  }
  public func weight(of linear: String, outFeatures: Int, inFeatures: Int, from source: any WeightSource, file: String)
    throws(CheckpointError) -> StoredWeight
  {
    guard let scheme = scheme(of: linear) else { fatalError() }
    let q = try CompressedTensorsLayout.decode(linear: linear, scheme.weights, outFeatures: outFeatures, inFeatures: inFeatures, from: source, file: file)
    return StoredWeight(rows: WeightRows(q.dequantized()), codes: { () throws(CheckpointError) in q })
  }
}
public struct StoredWeight: Sendable {
  public let rows: WeightRows
  public let codes: (@Sendable () throws(CheckpointError) -> QuantizedTensor)?
}
