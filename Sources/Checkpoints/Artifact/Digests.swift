internal import StrictJSON

/// The content of `digests.json`: the SHA-256 of every other member and of every tensor, in file order.
struct Digests: Equatable {
  /// A name and 64 hexadecimal digits.
  struct Entry: Equatable {
    let name: String
    let sha256: String
  }

  var members: [Entry]
  var tensors: [Entry]

  /// The version of the file's format.
  static let version = 1

  /// The file: always the same bytes for the same digests, and the same size for the same names.
  var bytes: [UInt8] {
    func object(_ entries: [Entry]) -> JSONValue {
      .object(JSONObject(entries.map { JSONObject.Member($0.name, .string($0.sha256)) }))
    }
    let value: JSONValue = [
      "version": .integer(Self.version), "algorithm": "sha256", "members": object(members), "tensors": object(tensors),
    ]
    return Array(value.prettyText.utf8)
  }
}

extension Digests {
  /// Reads the file; the reason when it is not one.
  init(parsing bytes: [UInt8], path: String) throws(CheckpointError) {
    func refuse(_ problem: String) -> CheckpointError {
      .malformed(file: path, offset: nil, tensor: nil, problem: "\(MemberName.digests): \(problem)")
    }
    let value: JSONValue
    do { value = try JSONValue(parsing: bytes) } catch { throw refuse(error.description) }
    guard value["version"]?.intValue == Self.version else {
      throw refuse("version \(value["version"]?.compactText ?? "is missing"), where 1 is known")
    }
    guard value["algorithm"]?.stringValue == "sha256" else { throw refuse("the algorithm is not sha256") }
    func entries(_ key: String) throws(CheckpointError) -> [Entry] {
      guard let object = value[key]?.objectValue else { throw refuse("\(key) is not an object") }
      var entries: [Entry] = []
      for member in object.members {
        guard let digest = member.value.stringValue, digest.utf8.count == 64 else {
          throw refuse("the digest of \"\(member.name)\" is not 64 digits")
        }
        entries.append(Entry(name: member.name, sha256: digest))
      }
      return entries
    }
    members = try entries("members")
    tensors = try entries("tensors")
  }
}
