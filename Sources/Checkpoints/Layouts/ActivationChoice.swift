internal import StrictJSON

/// Which linears are worth multiplying with activations in int8, as the run that quantized them has measured it.
///
/// `formats/compressed-tensors.md` describes the file.
public struct ActivationChoice: Sendable, Equatable {
  /// The file beside the weights.
  public static let fileName = "int8-activations.json"
  /// How many linears were measured.
  public let measured: Int
  /// Those of them whose input stays float, in the order of the model.
  public let floats: [String]

  /// A choice.
  public init(measured: Int, floats: [String]) {
    precondition(floats.count <= measured, "\(floats.count) of \(measured) linears")
    self.measured = measured
    self.floats = floats
  }

  /// Bytes that the file takes, whatever is chosen, when so many linears may be measured of which these may stay float.
  public static func byteCount(measured: Int, floats: [String]) -> Int {
    ActivationChoice(measured: measured, floats: floats).text.count
  }

  private var text: [UInt8] {
    let value: JSONValue = [
      "version": 1, "measured": .integer(measured), "float": .array(floats.map { .string($0) }),
    ]
    return Array(value.prettyText.utf8)
  }

  /// The file: JSON, and spaces before the last newline up to its size, which is known before anything is measured.
  public func bytes(count: Int) -> [UInt8] {
    let text = text
    precondition(text.count <= count, "\(text.count) bytes, where \(count) were planned")
    return text.dropLast() + [UInt8](repeating: UInt8(ascii: " "), count: count - text.count) + text.suffix(1)
  }
}

extension ActivationChoice {
  /// Reads the file beside a checkpoint's weights; `nil` where there is none.
  ///
  /// - Parameter isQuantized: whether the checkpoint holds a linear quantized: others cannot have been measured.
  static func of(
    _ checkpoint: Checkpoint, isQuantized: (String) -> Bool
  ) throws(CheckpointError) -> ActivationChoice? {
    guard let bytes = try checkpoint.file(fileName) else { return nil }
    return try ActivationChoice(parsing: bytes, path: checkpoint.name + "/" + fileName, isQuantized: isQuantized)
  }

  init(parsing bytes: [UInt8], path: String, isQuantized: (String) -> Bool) throws(CheckpointError) {
    func refusal(_ problem: String, offset: Int? = nil) -> CheckpointError {
      .malformed(file: path, offset: offset, tensor: nil, problem: problem)
    }
    let value: JSONValue
    do throws(JSONError) { value = try JSONValue(parsing: bytes) } catch {
      throw refusal(error.reason, offset: error.offset)
    }
    guard value["version"]?.intValue == 1 else {
      throw refusal("version \(value["version"]?.compactText ?? "is missing"), where 1 is known")
    }
    guard let measured = value["measured"]?.intValue, measured >= 0 else {
      throw refusal("measured is \(value["measured"]?.compactText ?? "missing"), expected a number of linears")
    }
    guard let names = value["float"]?.arrayValue else {
      throw refusal("float is \(value["float"]?.typeName ?? "missing"), expected an array of names")
    }
    var seen: Set<String> = []
    for entry in names {
      guard let name = entry.stringValue else {
        throw refusal("float holds \(entry.compactText), expected the name of a linear")
      }
      guard isQuantized(name) else {
        throw refusal("float names \"\(name)\", which is no quantized linear of the model")
      }
      guard seen.insert(name).inserted else { throw refusal("float names \"\(name)\" twice") }
    }
    guard names.count <= measured else {
      throw refusal("float names \(names.count) linears, where \(measured) were measured")
    }
    self.init(measured: measured, floats: names.compactMap(\.stringValue))
  }
}
