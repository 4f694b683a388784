internal import StrictJSON
internal import Tensors

/// A LoRA adapter in the layout of PEFT: what training added to a model, to be merged into its weights.
///
/// See `formats/adapter.md`. LoRA, rsLoRA and DoRA on linears, embeddings and fused experts, with rank and alpha patterns,
/// trained biases, tokens and whole modules. What cannot be merged into fixed weights is refused when it is opened.
///
/// ```swift
/// let model = try Checkpoint("base").adapted(by: Adapter(folder: "adapter"))
/// ```
public struct Adapter: Sendable {
  /// The folder.
  public let path: String
  /// What is odd but harmless, a sentence each.
  public let warnings: [String]
  let configuration: AdapterConfiguration
  /// By the canonical name of the module.
  let modules: [String: AdapterModule]

  static let configurationName = "adapter_config.json"
  static let weightsName = "adapter_model.safetensors"

  /// Opens `adapter_config.json` and `adapter_model.safetensors` of a folder and checks all that can be without the base.
  public init(folder path: String) throws(CheckpointError) {
    self.path = path
    let contents = try FolderContents(of: path)
    let scope = FileScope()
    guard contents.has(Self.configurationName) else {
      let subfolders = contents.names.filter {
        FileSystem.kind(FileSystem.join(path, $0) + "/" + Self.configurationName) == .file
      }
      let advice = subfolders.isEmpty ? "" : "; adapters lie in \(subfolders.joined(separator: ", ")) below it"
      throw .notFound(Self.configurationName, reason: "\(path) is not a PEFT adapter\(advice)")
    }
    guard contents.has(Self.weightsName) else {
      let isPickle = contents.has("adapter_model.bin")
      let advice = "only adapter_model.bin, a PyTorch pickle, which can run programs; save it again with PEFT"
      throw .notFound(Self.weightsName, reason: "\(path) has \(isPickle ? advice : "no weights of an adapter")")
    }
    let (file, weights) = (FileSystem.join(path, Self.configurationName), FileSystem.join(path, Self.weightsName))
    try scope.require(file, because: "an adapter has one")
    try scope.require(weights, because: "an adapter has one")
    configuration = try AdapterConfiguration(
      reading: try Checkpoint.object(try FileSystem.read(file), file: file), file: file)
    let found = try Self.modules(in: try SafetensorsFile(path: weights))
    modules = found
    warnings = try AdapterCheck(configuration: configuration, modules: found, weights: weights).warnings()
  }

  /// The modules in an order that does not depend on chance.
  var sorted: [AdapterModule] {
    modules.values.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
  }

  /// The weights' file, for messages.
  var weightsFile: String { FileSystem.join(path, Self.weightsName) }

  /// The content of a file of the folder, such as a tokenizer's for a grown vocabulary, or `nil`.
  public func file(_ name: String) throws(CheckpointError) -> [UInt8]? {
    guard FileSystem.problem(withRelativePath: name) == nil else { return nil }
    let file = FileSystem.join(path, name)
    guard try FileScope().has(file) else { return nil }
    return try FileSystem.read(file)
  }

  private static func modules(in file: SafetensorsFile) throws(CheckpointError) -> [String: AdapterModule] {
    var modules: [String: AdapterModule] = [:]
    for info in file.tensors {
      func refuse(_ problem: String) -> CheckpointError {
        .malformed(file: file.path, offset: nil, tensor: info.name, problem: problem)
      }
      guard info.dtype.isFullPrecision else {
        throw refuse("is \(info.dtype.rawValue), an adapter holds F32, F16 or BF16")
      }
      let name =
        info.name.hasPrefix(ModuleName.prefix) ? String(info.name.dropFirst(ModuleName.prefix.count)) : info.name
      guard let (module, role) = AdapterModule.parse(name) else {
        throw refuse("is not a tensor that PEFT writes for LoRA")
      }
      let tensor = try file.tensor(info.name)
      if let index = tensor.firstNonFinite { throw refuse("element \(index) is NaN or infinite") }
      let key = ModuleName.canonical(module)
      var entry = modules[key] ?? AdapterModule(name: module)
      guard entry.name == module else {
        throw refuse("\"\(module)\" and \"\(entry.name)\" are two names of one module")
      }
      guard entry.add(tensor, named: info.name, as: role) else {
        throw refuse("is there twice under different spellings")
      }
      modules[key] = entry
    }
    return modules
  }
}
