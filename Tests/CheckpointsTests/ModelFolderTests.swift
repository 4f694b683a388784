import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

@Suite struct ModelFolderTests {
  /// A folder with `config.json` and `model.safetensors`.
  private func model(_ files: [String] = []) throws -> ScratchFolder {
    let folder = try ScratchFolder()
    try folder.write("config.json", "{}\n")
    try folder.writeShard("model.safetensors", ["a"])
    for file in files { try folder.write(file, "x") }
    return folder
  }

  private func refusal(_ model: String) throws -> String {
    try #require(throws: CheckpointError.self) { try ModelFolder(resolving: model, environment: [:]) }.description
  }

  @Test func `a folder is resolved, with its name, weights and files`() throws {
    let folder = try model()
    let found = try ModelFolder(resolving: folder.path + "/", environment: [:])
    #expect(found.displayName == URL(filePath: folder.path).lastPathComponent)
    #expect(found.weights.tensors.map(\.name) == ["a"])
    #expect(try found.file("config.json") == Array("{}\n".utf8))
    #expect(try found.file("tokenizer.json") == nil)
    try folder.write("tokenizer.json", "")
    #expect(try found.file("tokenizer.json") == [])
  }

  @Test func `one file is resolved, with the configuration beside it`() throws {
    let folder = try model()
    try folder.writeShard("model.fp16.safetensors", ["b"])
    let found = try ModelFolder(resolving: folder.path + "/model.fp16.safetensors", environment: [:])
    #expect(found.path == folder.path && found.displayName == "model.fp16.safetensors")
    #expect(found.weights.tensors.map(\.name) == ["b"])
    #expect(try found.sideFiles == ["config.json"])
  }

  @Test(arguments: ["../x", "/etc/hosts", "", "a/../../b", "."])
  func `a file outside of the folder is not read`(_ name: String) throws {
    let folder = try model()
    let found = try ModelFolder(resolving: folder.path, environment: [:])
    #expect(throws: CheckpointError.self) { try found.file(name) }
  }

  @Test func `side files are those that belong to a model, sorted`() throws {
    let belonging = [
      "LICENSE", "NOTICE", "added_tokens.json", "additional_chat_templates/rag.jinja", "chat_template.jinja",
      "chat_template.json", "config.json", "generation_config.json", "merges.txt", "preprocessor_config.json",
      "qwen.tiktoken", "special_tokens_map.json", "tekken.json", "tokenizer.json", "tokenizer.model",
      "tokenizer.model.v3", "tokenizer_config.json", "vocab.json",
    ]
    let others = [
      "README.md", "quantize_config.json", "hf_quant_config.json", "model.safetensors.index.json", "modeling_x.py",
      "tokenizer_x.py", "pytorch_model.bin", "consolidated.safetensors", "additional_chat_templates/note.txt",
      "tokenizer.txt/x", ".gitattributes",
    ]
    let folder = try model(belonging + others)
    #expect(try ModelFolder(resolving: folder.path, environment: [:]).sideFiles == belonging)
  }

  @Test func `a folder without a configuration is refused`() throws {
    let folder = try model()
    try FileManager.default.removeItem(atPath: folder.path + "/config.json")
    let sentence = "config.json was not found: \(folder.path) has weights but no config.json"
    #expect(try refusal(folder.path).hasPrefix(sentence))
    #expect(try refusal(folder.path + "/model.safetensors").hasPrefix(sentence))
  }

  @Test(arguments: [
    (["pytorch_model.bin"], "only pytorch_model.bin: PyTorch pickles can run programs and are not read; convert them"),
    (["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"], "convert them to safetensors"),
    (["model.gguf"], "GGUF files are written, not read"),
    (["tf_model.h5"], "convert them to safetensors"),
    (["model.fp16.safetensors"], "only variants: model.fp16.safetensors; give the file you want as MODEL"),
    (
      ["model.safetensors.index.fp16.json", "model.fp16-00001-of-00002.safetensors"],
      "has shards such as model.fp16-00001-of-00002.safetensors but no model.safetensors.index.json"
    ),
    (["model.safetensors.index.fp16.json"], "only variants: model.safetensors.index.fp16.json; copy the one you want"),
    (["consolidated.safetensors"], "only consolidated.safetensors; give the file you want as MODEL"),
    (["model-00002-of-00003.safetensors"], "but no model.safetensors.index.json"),
    (["adapter_config.json", "adapter_model.safetensors"], "is a LoRA adapter, not a model"),
    (["refs/main", "snapshots/x/y"], "is a repository of the Hugging Face cache; give its name as org/name"),
    ([], "has neither model.safetensors nor model.safetensors.index.json"),
  ])
  func `a folder with other weights says what to do`(_ files: [String], _ sentence: String) throws {
    let folder = try ScratchFolder()
    for file in files + ["config.json"] { try folder.write(file, "x") }
    let found = try refusal(folder.path)
    #expect(found.hasPrefix("model.safetensors was not found: \(folder.path)") && found.contains(sentence), "\(found)")
  }

  @Test(arguments: [
    ("pytorch_model.bin", "convert them to safetensors"), ("x.gguf", "GGUF"),
    ("notes.txt", "a folder, a .safetensors file"),
    ("model-00001-of-00002.safetensors", "it is one shard of several; give the folder"),
    ("model.safetensors.index.json", "it is an index; give the folder"),
  ])
  func `a file that is no model says what to do`(_ name: String, _ sentence: String) throws {
    let folder = try model([name])
    #expect(try refusal(folder.path + "/" + name).contains(sentence))
  }

  @Test func `a mistyped path names its neighbours`() throws {
    let folder = try model()
    let last = URL(filePath: folder.path).lastPathComponent
    let found = try refusal(folder.path + "/model.safetensor")
    #expect(found.hasSuffix("; near: \(folder.path)/model.safetensors"), "\(found)")
    #expect(try refusal(folder.path + "x").contains(last))
    #expect(try refusal("/nowhere/at/all").contains("there is no such file or folder"))
    #expect(try refusal("").contains("there is no such file or folder"))
    #expect(try refusal("/dev/null").contains("neither a folder nor a regular file"))
  }

  @Test(.enabled(if: SharedFolder.exists, "the shared folder is not beside the checkout"))
  func `all models of the shared folder are resolved`() throws {
    let root = try #require(SharedFolder.path)
    var count = 0
    for folder in ["golden", "models"] {
      for name in try FileManager.default.contentsOfDirectory(atPath: "\(root)/\(folder)") {
        let path = "\(root)/\(folder)/\(name)"
        guard FileManager.default.fileExists(atPath: path + "/config.json") else { continue }
        let found = try ModelFolder(resolving: path, environment: [:])
        #expect(found.displayName == name && !found.weights.tensors.isEmpty)
        #expect(try found.sideFiles.contains("config.json"))
        count += 1
      }
    }
    #expect(count >= 16)
  }
}
