public import StrictJSON

/// A model's files, from whichever place they come: a folder, one safetensors file, or an artifact.
public struct Checkpoint: Sendable {
  /// What kind of place it is.
  public enum Format: Sendable {
    /// A folder, or a file with `config.json` beside it.
    case folder(ModelFolder)
    /// A `.tar.zst` of ours.
    case artifact(Artifact)
  }

  /// Where the files are.
  public let format: Format
  /// `config.json`.
  public let configuration: JSONObject
  /// The tensors.
  public let weights: any WeightSource
  /// What ``adapted(by:deferringQuantized:)`` has merged into ``weights``.
  ///
  /// Whoever decodes a quantized linear has its rows merged by ``adapted(_:module:)``.
  public let adapter: Adapter?
  /// Linears in the kernels' layout, where ``cached(by:)`` has brought some.
  public let cache: WeightCache?

  /// Opens what a person named: a path, or `org/name` in the Hugging Face cache.
  public init(_ model: String, environment: [String: String] = [:]) throws(CheckpointError) {
    if model.hasSuffix(".tar.zst") {
      let artifact = try Artifact(path: model)
      format = .artifact(artifact)
      weights = artifact
    } else {
      let folder = try ModelFolder(resolving: model, environment: environment)
      format = .folder(folder)
      weights = folder.weights
    }
    guard let bytes = try Self.file("config.json", in: format) else {
      throw .notFound("config.json", reason: "\(Self.name(of: format)) has none, and a model cannot be run without it")
    }
    configuration = try Self.object(bytes, file: Self.name(of: format) + "/config.json")
    adapter = nil
    cache = nil
  }

  /// The same files with other tensors.
  init(_ base: Checkpoint, configuration: JSONObject, weights: any WeightSource, adapter: Adapter) {
    format = base.format
    self.configuration = configuration
    self.weights = weights
    self.adapter = adapter
    cache = nil
  }

  /// The same files, tensors of which come out of a cache.
  init(_ base: Checkpoint, weights: any WeightSource, cache: WeightCache) {
    format = base.format
    configuration = base.configuration
    self.weights = weights
    adapter = base.adapter
    self.cache = cache
  }

  /// What the model is called in messages and reports.
  public var name: String { Self.name(of: format) }

  /// `config.json` as messages call it.
  public var configurationFile: String { name + "/config.json" }

  /// Files beside the weights that belong to a model folder, sorted by name, `config.json` among them.
  public func sideFiles() throws(CheckpointError) -> [String] {
    switch format {
    case .folder(let folder): return try folder.sideFiles
    case .artifact(let artifact):
      let others = ["model.safetensors", "recipe.yaml", ActivationChoice.fileName, "digests.json"]
      return artifact.members.map(\.name).filter { !others.contains($0) }
    }
  }

  /// The content of a file beside the weights, or `nil` if there is none.
  public func file(_ name: String) throws(CheckpointError) -> [UInt8]? {
    if let adapter, let bytes = try adaptedFile(name, by: adapter) { return bytes }
    return try Self.file(name, in: format)
  }

  private static func name(of format: Format) -> String {
    switch format {
    case .folder(let folder): folder.displayName
    case .artifact(let artifact): artifact.path
    }
  }

  private static func file(_ name: String, in format: Format) throws(CheckpointError) -> [UInt8]? {
    switch format {
    case .folder(let folder): return try folder.file(name)
    case .artifact(let artifact):
      guard artifact.members.contains(where: { $0.name == name }) else { return nil }
      return try artifact.member(name)
    }
  }

  /// Reads a JSON object; Python's `Infinity` is taken, since real configurations hold it.
  static func object(_ bytes: [UInt8], file: String) throws(CheckpointError) -> JSONObject {
    let value: JSONValue
    do throws(JSONError) { value = try JSONValue(parsing: bytes, pythonLiterals: true) } catch {
      throw .malformed(file: file, offset: error.offset, tensor: nil, problem: error.reason)
    }
    guard let object = value.objectValue else {
      throw .malformed(file: file, offset: 0, tensor: nil, problem: "expected an object, found \(value.typeName)")
    }
    return object
  }
}
