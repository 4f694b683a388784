internal import Checkpoints
internal import Foundation
internal import Kernels
internal import Models
internal import Reports
internal import StrictJSON

/// Who a run is: what decides its bytes, what is stored of that, and whether what lies on disk is its own.
extension QuantizationRun {
  static func hasJournal(_ path: String) -> Bool {
    let attributes = try? FileManager.default.attributesOfItem(atPath: path + ".journal")
    return (attributes?[.size] as? NSNumber)?.intValue ?? 0 > 0
  }

  /// Whether what was left is another try of this run at its rate: the search begins again, and comes there again.
  static func isLaterTry(_ path: String, than identity: String) -> Bool {
    guard let data = FileManager.default.contents(atPath: path + ".journal"),
      let line = data.split(separator: UInt8(ascii: "\n"), maxSplits: 1).first,
      let fingerprint = (try? JSONValue(parsing: line))?["fingerprint"]?.stringValue
    else { return false }
    return fingerprint.hasPrefix(identity + aimMark)
  }

  private static let aimMark = " aiming at "

  /// Everything that decides the bytes: the same fingerprint, the same artifact.
  func fingerprint(_ digest: String) -> String {
    let value: JSONValue = [
      "version": .string(SystemFacts.version), "source": .string(digest), "recipe": request.recipe.json,
      // An adapter of linears that are stored quantized changes no tensor of the source.
      "adapter": adapter,
      "calibration": .string(calibration?.digest ?? "none"),
      "arithmetic": .string(
        "\(InstructionSet.current.rawValue) \(MatrixProduct.library) \(memory.chunkRows) \(memory.heldOutTokens)"),
    ]
    return value.compactText + (aim.map { Self.aimMark + "\($0)" } ?? "")
  }

  func sideFiles() throws -> [ArtifactPlan.Member] {
    try model.checkpoint.members(quantization: plan.quantization)
      + [ArtifactPlan.Member(name: "recipe.yaml", bytes: Array(recipeText.utf8))]
  }

  /// The recipe, and the adapter that was merged before it.
  var recordedRecipe: JSONValue {
    guard !adapter.isNull, var object = request.recipe.json.objectValue else { return request.recipe.json }
    object["adapter"] = adapter
    return .object(object)
  }

  /// The recipe as it is stored; JSON is YAML.
  private var recipeText: String {
    var object: JSONObject = ["quantize_version": .string(SystemFacts.version)]
    for member in recordedRecipe.objectValue?.members ?? [] { object[member.name] = member.value }
    if let calibration {
      object["calibration_digest"] = .string(calibration.digest)
      object["calibration_tokens"] = .integer(calibration.tokens)
    }
    return JSONValue.object(object).prettyText
  }
}
