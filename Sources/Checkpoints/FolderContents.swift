/// What lies in a folder that was given as a model, to say what is wrong with it.
struct FolderContents {
  let folder: String
  let names: [String]

  init(of folder: String) throws(CheckpointError) {
    self.folder = folder
    do { names = try FileSystem.entries(folder) } catch { throw .file(error) }
  }

  func has(_ name: String) -> Bool { names.contains(name) }

  /// Formats that hold weights and that are not read as a model.
  private static let foreign: [(ending: String, sentence: String)] = [
    (".bin", pickle), (".pt", pickle), (".pth", pickle), (".ckpt", pickle),
    (".gguf", "GGUF files are written, not read; give the model they were made from"),
    (".h5", "Keras files are not read; convert them to safetensors"),
    (".msgpack", "Flax files are not read; convert them to safetensors"),
  ]
  private static let pickle =
    "PyTorch pickles can run programs and are not read; convert them to safetensors,"
    + " for example by loading and save_pretrained in transformers"

  /// Why a file cannot be MODEL, by its name, or `nil`.
  static func problem(withModelFile name: String) -> String? {
    if name.hasSuffix(".safetensors") {
      return isShard(name) ? "it is one shard of several; give the folder" : nil
    }
    if let sentence = foreign.first(where: { name.hasSuffix($0.ending) })?.sentence { return sentence }
    if name.contains(".safetensors.index.") { return "it is an index; give the folder" }
    return "a folder, a .safetensors file or org/name is expected"
  }

  /// Whether a name ends as those of shards do: `-00001-of-00004.safetensors`.
  static func isShard(_ name: String) -> Bool {
    let stem = name.hasSuffix(".safetensors") ? name.dropLast(".safetensors".count) : ""
    let parts = stem.split(separator: "-", omittingEmptySubsequences: false).suffix(3)
    guard parts.count == 3, parts.dropFirst().first == "of" else { return false }
    return [parts.first, parts.last].allSatisfy { part in
      part.map { $0.utf8.count == 5 && Int($0) != nil } ?? false
    } && parts.last != "00001"
  }

  func reasonForNoConfig(_ advice: String?) -> String {
    if has("adapter_config.json") { return adapter }
    return "\(folder) has weights but no config.json, without which the model's architecture is unknown; "
      + (advice ?? "copy it from where the model came from")
  }

  func reasonForNoWeights(_ advice: String?) -> String {
    if has("adapter_config.json") { return adapter }
    if has("snapshots") && has("refs") {
      return "\(folder) is a repository of the Hugging Face cache; give its name as org/name, or a folder in snapshots"
    }
    let others = names.filter { $0.hasSuffix(".safetensors") }
    if let shard = others.first(where: Self.isShard) {
      return "\(folder) has shards such as \(shard) but no \(SafetensorsSource.indexName); "
        + (advice ?? "copy it from where the model came from")
    }
    let indices = names.filter { $0.hasPrefix(SafetensorsSource.indexName.dropLast("json".count)) }
    if !indices.isEmpty {
      return "\(folder) has only variants: \(indices.joined(separator: ", "));"
        + " copy the one you want to \(SafetensorsSource.indexName)"
    }
    let variants = others.filter { $0.hasPrefix("model.") }
    if !others.isEmpty {
      return "\(folder) has no weights of that name, only \(variants.isEmpty ? "" : "variants: ")"
        + "\((variants.isEmpty ? others : variants).joined(separator: ", ")); give the file you want as MODEL"
    }
    for name in names {
      guard let sentence = Self.foreign.first(where: { name.hasSuffix($0.ending) })?.sentence else { continue }
      return "\(folder) has only \(name): \(sentence)"
    }
    return "\(folder) has neither \(SafetensorsSource.singleName) nor \(SafetensorsSource.indexName)"
      + (advice.map { "; " + $0 } ?? "")
  }

  private var adapter: String {
    "\(folder) is a LoRA adapter, not a model; give its base as MODEL and this folder with --adapter"
  }
}
