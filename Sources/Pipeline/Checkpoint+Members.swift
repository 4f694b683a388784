internal import Checkpoints
internal import StrictJSON
internal import Tensors

extension Checkpoint {
  /// The files beside the weights, with what `config.json` says of the weights as they are written now.
  ///
  /// What it said of quantization before is gone, under whichever key and wherever it was: it must not outlive the
  /// weights it described.
  ///
  /// - Parameters:
  ///   - quantization: `quantization_config` of the result; `nil` for full precision.
  ///   - elementType: the type of all weights, where they have one.
  func members(quantization: JSONValue?, elementType: DType? = nil) throws -> [ArtifactPlan.Member] {
    var members: [ArtifactPlan.Member] = []
    for name in try sideFiles() where name != "config.json" {
      if let bytes = try file(name) { members.append(.init(name: name, bytes: bytes)) }
    }
    var configuration = configuration
    Self.removeQuantization(from: &configuration)
    if let elementType { Self.declare(elementType, in: &configuration) }
    if let quantization { configuration["quantization_config"] = quantization }
    members.append(.init(name: "config.json", bytes: Array(JSONValue.object(configuration).prettyText.utf8)))
    return members
  }
}
