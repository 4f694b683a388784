/// A model's name on the Hugging Face hub: `org/name` or `name`, with `@revision` or without.
struct HubName {
  /// Such as `Qwen/Qwen3-0.6B`.
  let repository: String
  /// A branch, tag or commit; `nil` means `main`.
  let revision: String?

  /// The parts of a name, or `nil` for a text that cannot be one.
  init?(_ text: String) {
    let halves = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
    let parts = halves[0].split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count <= 2, parts.allSatisfy(Self.isPart) else { return nil }
    if halves.count == 2 {
      guard FileSystem.problem(withRelativePath: String(halves[1])) == nil else { return nil }
    }
    repository = String(halves[0])
    revision = halves.count == 2 ? String(halves[1]) : nil
  }

  /// The hub's own rule: letters, digits, `-`, `_` and `.`, neither `--` nor `..`, and no `-` or `.` at the ends.
  private static func isPart(_ part: Substring) -> Bool {
    guard !part.isEmpty, part.utf8.count <= 96, !part.contains("--"), !part.contains("..") else { return false }
    guard !"-.".contains(part.first ?? "-"), !"-.".contains(part.last ?? "-") else { return false }
    return part.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
        true
      default: false
      }
    }
  }

  /// The folder of its files in a cache.
  var folderName: String { "models--" + repository.split(separator: "/").joined(separator: "--") }

  /// The command that puts it there.
  var downloadCommand: String { "hf download \(repository)" + (revision.map { " --revision \($0)" } ?? "") }
}

/// The Hugging Face cache on this machine.
struct HubCache {
  /// The folder that holds `models--org--name`; `nil` when the environment names none.
  let root: String?
  /// The variable that decided, for messages.
  let origin: String

  /// Finds the cache as huggingface_hub does: the first of these variables that is set and not empty.
  init(environment: [String: String]) {
    func value(_ name: String) -> String? {
      environment[name].flatMap { $0.isEmpty ? nil : Self.expand($0, environment) }
    }
    let candidates: [(variable: String, below: String)] = [
      ("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", ""), ("HF_HOME", "/hub"),
      ("XDG_CACHE_HOME", "/huggingface/hub"), ("HOME", "/.cache/huggingface/hub"),
    ]
    for (variable, below) in candidates {
      guard let path = value(variable) else { continue }
      (root, origin) = (path + below, variable)
      return
    }
    (root, origin) = (nil, "HOME")
  }

  /// `~` at the start, `$NAME` and `${NAME}`; names that are not set stay as they are.
  private static func expand(_ text: String, _ environment: [String: String]) -> String {
    var rest = Substring(text)
    var result = ""
    if rest == "~" || rest.hasPrefix("~/"), let home = environment["HOME"] {
      result += home
      rest = rest.dropFirst()
    }
    while let dollar = rest.firstIndex(of: "$") {
      result += rest[..<dollar]
      rest = rest[dollar...]
      let isBraced = rest.dropFirst().first == "{"
      let name = rest.dropFirst(isBraced ? 2 : 1).prefix { $0 == "_" || $0.isASCII && ($0.isLetter || $0.isNumber) }
      let after = rest[name.endIndex...]
      if !name.isEmpty, !isBraced || after.first == "}", let value = environment[String(name)] {
        result += value
        rest = after.dropFirst(isBraced ? 1 : 0)
      } else {
        result += "$"
        rest = rest.dropFirst()
      }
    }
    return result + rest
  }

  /// The models that are there, as `org/name`, sorted.
  var models: [String] {
    get throws(CheckpointError) {
      guard let root, FileSystem.kind(root) == .folder else { return [] }
      do {
        return try FileSystem.entries(root).compactMap { entry in
          guard entry.hasPrefix("models--") else { return nil }
          return entry.dropFirst("models--".count).split(separator: "--", maxSplits: 1).joined(separator: "/")
        }
      } catch { throw .file(error) }
    }
  }

  /// The folder of one commit of a model, and the scope its links must not leave; `nil` when the model is not there.
  ///
  /// The revision is a file in `refs`, or else a commit; no other snapshot is ever guessed.
  func snapshot(of name: HubName) throws(CheckpointError) -> (folder: String, scope: FileScope)? {
    guard let root else { return nil }
    let repository = FileSystem.join(root, name.folderName)
    guard FileSystem.kind(repository) == .folder, let real = FileSystem.realPath(repository) else { return nil }
    let scope = FileScope(root: real, advice: "download it with `\(name.downloadCommand)`")
    let revision = name.revision ?? "main"
    let reference = FileSystem.join(repository, "refs/" + revision)
    var commit = revision
    if FileSystem.kind(reference) == .file, try scope.has(reference) { commit = try Self.commit(at: reference) }
    let folder = FileSystem.join(repository, "snapshots/" + commit)
    guard !commit.contains("/"), FileSystem.kind(folder) == .folder else {
      let problem =
        if commit == revision {
          "\(repository) holds no such revision"
        } else {
          "\(reference) names commit \(commit), of which no snapshot is there"
        }
      let known = try Self.revisions(in: repository)
      throw .notFound(
        "\(name.repository)@\(revision)",
        reason: problem + (known.isEmpty ? "" : ", it holds \(known.joined(separator: ", "))")
          + "; download it with `\(name.downloadCommand)`")
    }
    guard let inside = FileSystem.realPath(folder), inside.hasPrefix(real + "/") else {
      throw .notFound(folder, reason: "it is a symbolic link out of \(real), which a cache must not hold")
    }
    return (folder, scope)
  }

  private static func commit(at reference: String) throws(CheckpointError) -> String {
    let text = String(decoding: try FileSystem.read(reference).prefix(100), as: UTF8.self)
    let commit = text.hasSuffix("\n") ? String(text.dropLast()) : text
    guard commit.utf8.count == 40, commit.allSatisfy({ $0.isASCII && $0.isHexDigit }) else {
      throw .malformed(
        file: reference, offset: 0, tensor: nil, problem: "a commit of 40 hexadecimal digits is expected")
    }
    return commit
  }

  private static func revisions(in repository: String) throws(CheckpointError) -> [String] {
    var names: [String] = []
    for folder in ["refs", "snapshots"] {
      let path = FileSystem.join(repository, folder)
      guard FileSystem.kind(path) == .folder else { continue }
      do { names += try FileSystem.entries(path) } catch { throw .file(error) }
    }
    return names
  }
}
