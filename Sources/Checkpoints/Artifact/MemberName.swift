/// What the files inside an artifact may be called.
enum MemberName {
  /// The weights.
  static let weights = "model.safetensors"
  /// The digests of everything else; the last member.
  static let digests = "digests.json"
  /// The model's configuration; the first member.
  static let configuration = "config.json"
  /// How the artifact was made; the last member before the weights.
  static let recipe = "recipe.yaml"

  /// Why a file must not be called so, or `nil`: names lead to places inside the folder, on every system.
  static func problem(_ name: String) -> String? {
    if name.utf8.count > 255 { return "has \(name.utf8.count) bytes, more than 255" }
    if name.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) { return "contains a control character" }
    return FileSystem.problem(withRelativePath: name)
  }

  /// Why some names cannot be in one folder, or `nil`: one occurs twice, or is both a file and a folder.
  static func problem(_ names: [String]) -> String? {
    for name in names {
      if let problem = problem(name) { return "member name \"\(name)\" \(problem)" }
    }
    var files = Set<[UInt8]>()
    for name in names where !files.insert(Array(name.utf8)).inserted { return "member \"\(name)\" occurs twice" }
    for name in names {
      let bytes = Array(name.utf8)
      for slash in bytes.indices where bytes[slash] == UInt8(ascii: "/") && files.contains(Array(bytes[..<slash])) {
        return "member \"\(name)\" lies inside another member"
      }
    }
    return nil
  }
}
