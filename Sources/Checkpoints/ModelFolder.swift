/// A model's folder in the layout of Hugging Face: `config.json`, weights in safetensors, and side files.
public struct ModelFolder: Sendable {
  /// The folder.
  public let path: String
  /// What to call the model: `org/name` as it was given, or the last part of the path.
  public let displayName: String
  /// The weights, mapped.
  public let weights: SafetensorsSource
  private let scope: FileScope

  /// Finds what the command line's MODEL means.
  ///
  /// A folder or file of this name comes first, then the Hugging Face cache; nothing is downloaded.
  ///
  /// - Parameters:
  ///   - model: a folder, one `.safetensors` file with `config.json` beside it, or `org/name[@revision]`.
  ///   - environment: the process's environment, which says where the cache is.
  public init(resolving model: String, environment: [String: String]) throws(CheckpointError) {
    switch FileSystem.kind(model) {
    case .folder:
      try self.init(folder: model, name: Self.name(ofFolder: model), scope: FileScope())
    case .file:
      try self.init(file: model)
    case .other:
      throw .notFound(model, reason: "it is neither a folder nor a regular file")
    case nil:
      guard let name = HubName(model), !model.hasSuffix(".safetensors") else {
        throw .notFound(model, reason: Self.reason(forMissingPath: model))
      }
      let cache = HubCache(environment: environment)
      guard let (folder, scope) = try cache.snapshot(of: name) else {
        throw .notFound(model, reason: try Self.reason(forMissing: name, in: cache, path: model))
      }
      try self.init(folder: folder, name: model, scope: scope)
    }
  }

  private init(folder: String, name: String, scope: FileScope) throws(CheckpointError) {
    let contents = try FolderContents(of: folder)
    let hasWeights = contents.has(SafetensorsSource.singleName) || contents.has(SafetensorsSource.indexName)
    guard hasWeights else { throw .notFound("model.safetensors", reason: contents.reasonForNoWeights(scope.advice)) }
    try Self.checkConfig(in: folder, contents, scope)
    path = folder
    displayName = name
    weights = try SafetensorsSource(folder: folder, scope: scope)
    self.scope = scope
  }

  private init(file: String) throws(CheckpointError) {
    let (folder, name) = (FileSystem.parent(file), FileSystem.lastComponent(file))
    if let problem = FolderContents.problem(withModelFile: name) { throw .notFound(file, reason: problem) }
    try Self.checkConfig(in: folder, try FolderContents(of: folder), FileScope())
    path = folder
    displayName = name
    scope = FileScope()
    weights = try SafetensorsSource(file: file, scope: scope, warnings: [])
  }

  private static func checkConfig(
    in folder: String, _ contents: FolderContents, _ scope: FileScope
  ) throws(CheckpointError) {
    guard try scope.has(FileSystem.join(folder, "config.json")) else {
      throw .notFound("config.json", reason: contents.reasonForNoConfig(scope.advice))
    }
  }

  private static func name(ofFolder path: String) -> String {
    let last = FileSystem.lastComponent(path)
    guard last == "." || last == ".." || last == "/" else { return last }
    return FileSystem.realPath(path).map(FileSystem.lastComponent) ?? path
  }
}

// MARK: Files

extension ModelFolder {
  /// The content of a file of the folder, or `nil` when there is none of this name.
  ///
  /// - Parameter name: a path below the folder, such as `config.json`.
  public func file(_ name: String) throws(CheckpointError) -> [UInt8]? {
    if let problem = FileSystem.problem(withRelativePath: name) {
      throw .notFound(name, reason: "the name \(problem), a path below \(path) is expected")
    }
    let file = FileSystem.join(path, name)
    guard try scope.has(file) else { return nil }
    return try FileSystem.read(file)
  }

  /// The files that make a model folder whole beside its weights, as paths below the folder, sorted by bytes.
  ///
  /// Configuration, tokenizer, chat templates, licence. Not the weights and their index, not programs, not README, and
  /// not descriptions of how the weights are quantized, which must not outlive those weights.
  public var sideFiles: [String] {
    get throws(CheckpointError) {
      let templates = "additional_chat_templates"
      var names: [String] = []
      do {
        names = try FileSystem.entries(path).filter(SideFiles.contains)
        let folder = FileSystem.join(path, templates)
        if FileSystem.kind(folder) == .folder {
          names += try FileSystem.entries(folder).filter { $0.hasSuffix(".jinja") }.map { templates + "/" + $0 }
        }
      } catch { throw .file(error) }
      var found: [String] = []
      for name in names {
        let file = FileSystem.join(path, name)
        if FileSystem.kind(file) != .folder, try scope.has(file) { found.append(name) }
      }
      return found.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
  }
}

/// The names of facts that travel with a model's weights.
private enum SideFiles {
  static let names: Set<String> = [
    "config.json", "generation_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt",
    "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tekken.json", "chat_template.jinja", "chat_template.json",
    "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json", "LICENSE", "LICENSE.txt",
    "LICENSE.md", "NOTICE", "NOTICE.txt", "USE_POLICY.md",
  ]

  /// Listed names, `tokenizer*` (`tokenizer.model.v3` too, but no programs), and tiktoken vocabularies.
  static func contains(_ name: String) -> Bool {
    if names.contains(name) || name.hasSuffix(".tiktoken") || name.hasPrefix("tokenizer.model") { return true }
    return name.hasPrefix("tokenizer") && [".json", ".txt", ".jinja"].contains { name.hasSuffix($0) }
  }
}

// MARK: Messages

extension ModelFolder {
  private static func reason(
    forMissing name: HubName, in cache: HubCache, path: String
  ) throws(CheckpointError) -> String {
    let place =
      if let root = cache.root {
        "nor is \(name.repository) in the Hugging Face cache \(root) (from \(cache.origin))"
      } else {
        "and no Hugging Face cache is known (set HF_HOME)"
      }
    let near = nearMisses(of: name.repository, among: try cache.models) + nearPaths(path)
    return "there is no such file or folder, \(place)" + listed(near) + "; download it with `\(name.downloadCommand)`"
  }

  private static func reason(forMissingPath path: String) -> String {
    "there is no such file or folder, and it cannot be a name on the Hugging Face hub (org/name)"
      + listed(nearPaths(path))
  }

  private static func nearPaths(_ path: String) -> [String] {
    let parent = FileSystem.parent(path)
    do {
      let entries = try FileSystem.entries(parent)
      return nearMisses(of: FileSystem.lastComponent(path), among: entries).map { name in
        path.contains("/") ? FileSystem.join(parent, name) : name
      }
    } catch {
      // A parent that cannot be listed has no near names; that it is missing is said already.
      return []
    }
  }

  private static func listed(_ near: [String]) -> String {
    near.isEmpty ? "" : "; near: " + near.joined(separator: ", ")
  }
}
