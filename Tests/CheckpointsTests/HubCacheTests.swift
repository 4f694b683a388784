import Checkpoints
import Foundation
import Tensors
import Testing

@Suite struct HubCacheTests {
  private static let commit = "0123456789abcdef0123456789abcdef01234567"
  private static let other = "89abcdef0123456789abcdef0123456789abcdef"

  /// A repository as huggingface_hub lays it out: blobs, and links to them in the snapshot.
  private func add(_ repository: String, to folder: borrowing ScratchFolder, at hub: String = "hub") throws {
    let root = "\(hub)/models--" + repository.replacingOccurrences(of: "/", with: "--")
    let snapshot = "\(root)/snapshots/\(Self.commit)"
    try folder.write("\(root)/blobs/c0", "{}")
    try folder.writeShard("\(root)/blobs/w0", ["a"])
    try folder.write("\(root)/blobs/t0", "template")
    try folder.link("\(snapshot)/config.json", to: "../../blobs/c0")
    try folder.link("\(snapshot)/model.safetensors", to: "../../blobs/w0")
    try folder.link("\(snapshot)/additional_chat_templates/x.jinja", to: "../../../blobs/t0")
    try folder.write("\(root)/refs/main", Self.commit)
    try folder.write("\(root)/refs/refs/pr/1", Self.commit + "\n")
  }

  private func refusal(_ model: String, _ environment: [String: String]) throws -> String {
    try #require(throws: CheckpointError.self) {
      try ModelFolder(resolving: model, environment: environment)
    }.description
  }

  @Test func `a name is found through its reference and links`() throws {
    let folder = try ScratchFolder()
    try add("Org/some-model_1.5", to: folder)
    for suffix in ["", "@main", "@refs/pr/1", "@" + Self.commit] {
      let name = "Org/some-model_1.5" + suffix
      let found = try ModelFolder(resolving: name, environment: ["HF_HOME": folder.path])
      #expect(found.displayName == name)
      #expect(found.path.hasSuffix("models--Org--some-model_1.5/snapshots/" + Self.commit))
      #expect(found.weights.tensors.map(\.name) == ["a"])
      #expect(try found.sideFiles == ["additional_chat_templates/x.jinja", "config.json"])
      #expect(try found.file("additional_chat_templates/x.jinja") == Array("template".utf8))
    }
    try add("gpt2", to: folder)
    #expect(try ModelFolder(resolving: "gpt2", environment: ["HF_HOME": folder.path]).displayName == "gpt2")
  }

  @Test func `plain files in the snapshot are read where there are no links`() throws {
    let folder = try ScratchFolder()
    let snapshot = "hub/models--o--m/snapshots/" + Self.commit
    try folder.write(snapshot + "/config.json", "{}")
    try folder.writeShard(snapshot + "/model.safetensors", ["a"])
    try folder.write("hub/models--o--m/refs/main", Self.commit)
    #expect(try ModelFolder(resolving: "o/m", environment: ["HF_HOME": folder.path]).weights.tensors.count == 1)
  }

  @Test func `the first variable that is set says where the cache is`() throws {
    let folder = try ScratchFolder()
    let places: [(hub: String, variable: String, value: String)] = [
      ("one", "HF_HUB_CACHE", "one"), ("two", "HUGGINGFACE_HUB_CACHE", "two"), ("three/hub", "HF_HOME", "three"),
      ("four/huggingface/hub", "XDG_CACHE_HOME", "four"), ("five/.cache/huggingface/hub", "HOME", "five"),
    ]
    for place in places { try add("o/m", to: folder, at: place.hub) }
    var environment: [String: String] = [:]
    for place in places.reversed() {
      environment[place.variable] = folder.path + "/" + place.value
      let found = try ModelFolder(resolving: "o/m", environment: environment)
      #expect(found.path.hasPrefix("\(folder.path)/\(place.hub)/"))
    }
    environment["HF_HUB_CACHE"] = ""
    #expect(try ModelFolder(resolving: "o/m", environment: environment).path.hasPrefix(folder.path + "/two/"))
  }

  @Test(arguments: ["~/three/hub", "$HOME/three/hub", "${HOME}/three/hub", "$A/hub", "${A}${NONE_}/hub"])
  func `the home folder and variables in it are expanded`(_ value: String) throws {
    let folder = try ScratchFolder()
    // A name that is not set stays as it is.
    try add("o/m", to: folder, at: value.contains("NONE_") ? "three${NONE_}/hub" : "three/hub")
    let environment = ["HOME": folder.path, "A": folder.path + "/three", "HF_HUB_CACHE": value]
    #expect(try ModelFolder(resolving: "o/m", environment: environment).weights.tensors.count == 1)
  }

  @Test func `a folder of the same name comes first`() throws {
    let folder = try ScratchFolder()
    try add("o/m", to: folder)
    let found = try ModelFolder(
      resolving: "\(folder.path)/hub/models--o--m/snapshots/\(Self.commit)", environment: ["HF_HOME": "/nowhere"])
    #expect(found.displayName == Self.commit)
  }

  @Test func `a name that is not there says where it looked, what is near, and how to get it`() throws {
    let folder = try ScratchFolder()
    for name in ["Qwen/Qwen3-0.6B", "Qwen/Qwen3-1.7B", "Qwen/Other"] { try add(name, to: folder) }
    #expect(
      try refusal("Qwen/Qwen3-0.6", ["HF_HOME": folder.path])
        == "Qwen/Qwen3-0.6 was not found: there is no such file or folder, nor is Qwen/Qwen3-0.6 in the Hugging Face cache"
        + " \(folder.path)/hub (from HF_HOME); near: Qwen/Qwen3-0.6B, Qwen/Qwen3-1.7B;"
        + " download it with `hf download Qwen/Qwen3-0.6`")
    #expect(try refusal("qwen3-0.6b", ["HF_HOME": folder.path]).contains("; near: Qwen/Qwen3-0.6B"))
    #expect(try refusal("o/m@v1", ["HOME": "/nowhere"]).hasSuffix("with `hf download o/m --revision v1`"))
    #expect(try refusal("o/m", [:]).contains("no Hugging Face cache is known (set HF_HOME)"))
  }

  @Test(arguments: [
    "a/b/c", "o/..", "../m", "-o/m", "o/m.", "o--p/m", "o/m@", "o/m@../x", "o/m@/x", "o/é", "o/m@a\\b", "o/m x", "/m",
    "models--o--m.safetensors",
  ])
  func `what cannot be a name is not looked up`(_ name: String) throws {
    let sentence = try refusal(name, ["HF_HOME": "/nowhere"])
    #expect(sentence.contains("it cannot be a name on the Hugging Face hub (org/name)"), "\(sentence)")
  }

  @Test func `no other snapshot is guessed`() throws {
    let folder = try ScratchFolder()
    try add("o/m", to: folder)
    let environment = ["HF_HOME": folder.path]
    let root = folder.path + "/hub/models--o--m"
    #expect(
      try refusal("o/m@v2", environment)
        == "o/m@v2 was not found: \(root) holds no such revision, it holds main, refs, \(Self.commit);"
        + " download it with `hf download o/m --revision v2`")
    #expect(try refusal("o/m@" + Self.commit.prefix(7), environment).contains("holds no such revision"))
    try folder.write("hub/models--o--m/refs/main", Self.other)
    let sentence = "\(root)/refs/main names commit \(Self.other), of which no snapshot is there"
    #expect(try refusal("o/m", environment).contains(sentence))
  }

  @Test(arguments: ["", "../../../etc", "main", String(commit.dropLast()), "g" + commit.dropFirst(), commit + "\n\n"])
  func `a reference that holds no commit is refused`(_ content: String) throws {
    let folder = try ScratchFolder()
    try add("o/m", to: folder)
    let path = try folder.write("hub/models--o--m/refs/main", content)
    #expect(
      try refusal("o/m", ["HF_HOME": folder.path]) == "\(path) at byte 0: a commit of 40 hexadecimal digits is expected"
    )
  }

  @Test func `an interrupted download says so`() throws {
    let folder = try ScratchFolder()
    try add("o/m", to: folder)
    try FileManager.default.removeItem(atPath: folder.path + "/hub/models--o--m/blobs/w0")
    let snapshot = folder.path + "/hub/models--o--m/snapshots/" + Self.commit
    #expect(
      try refusal("o/m", ["HF_HOME": folder.path])
        == "\(snapshot)/model.safetensors was not found: it is a symbolic link to a file that is not there;"
        + " download it with `hf download o/m`")
    try FileManager.default.removeItem(atPath: snapshot + "/model.safetensors")
    #expect(try refusal("o/m", ["HF_HOME": folder.path]).hasSuffix("; download it with `hf download o/m`"))
    try FileManager.default.removeItem(atPath: snapshot + "/config.json")
    let index = "hub/models--o--m/snapshots/\(Self.commit)/model.safetensors.index.json"
    try folder.writeIndex(["a": "x.safetensors"], named: index)
    #expect(try refusal("o/m", ["HF_HOME": folder.path]).hasSuffix("is unknown; download it with `hf download o/m`"))
    try folder.write("hub/models--o--m/snapshots/\(Self.commit)/config.json", "{}")
    let sentence = "names this shard; download it with `hf download o/m`"
    #expect(try refusal("o/m", ["HF_HOME": folder.path]).hasSuffix(sentence))
  }

  @Test(arguments: [
    "config.json", "model.safetensors", "model.safetensors.index.json", "x.safetensors", "tokenizer.json",
  ])
  func `a link out of the repository is refused`(_ name: String) throws {
    let folder = try ScratchFolder()
    try add("o/m", to: folder)
    let snapshot = "hub/models--o--m/snapshots/\(Self.commit)"
    if name.contains("index") || name.hasPrefix("x.") {
      try FileManager.default.removeItem(atPath: "\(folder.path)/\(snapshot)/model.safetensors")
      try folder.writeIndex(["a": "x.safetensors"], totalSize: "1", named: snapshot + "/model.safetensors.index.json")
      try folder.writeShard(snapshot + "/x.safetensors", ["a"])
    }
    // The target is a good file, next to the repository: only its place is wrong.
    let target = folder.path + "/hub/models--o--mx"
    try FileManager.default.moveItem(
      atPath: "\(folder.path)/\(snapshot)/\(name == "tokenizer.json" ? "config.json" : name)", toPath: target)
    if name == "tokenizer.json" { try folder.write(snapshot + "/config.json", "{}") }
    try? FileManager.default.removeItem(atPath: "\(folder.path)/\(snapshot)/\(name)")
    // What was moved may be a link itself; a real file is needed.
    try FileManager.default.removeItem(atPath: target)
    try folder.writeShard("hub/models--o--mx", ["a"])
    try folder.link("\(snapshot)/\(name)", to: "../../../models--o--mx")
    let sentence =
      "\(folder.path)/\(snapshot)/\(name) was not found: it is a symbolic link out of"
      + " \(folder.path)/hub/models--o--m, which a cache must not hold"
    if name == "tokenizer.json" {
      let found = try ModelFolder(resolving: "o/m", environment: ["HF_HOME": folder.path])
      #expect(try #require(throws: CheckpointError.self) { try found.file(name) }.description == sentence)
      #expect(try #require(throws: CheckpointError.self) { try found.sideFiles }.description == sentence)
    } else {
      #expect(try refusal("o/m", ["HF_HOME": folder.path]) == sentence)
    }
  }

  @Test func `snapshots and references that are links out of the repository are refused`() throws {
    let folder = try ScratchFolder()
    try add("o/m", to: folder)
    try add("o/evil", to: folder)
    let environment = ["HF_HOME": folder.path]
    let root = "hub/models--o--evil"
    try FileManager.default.removeItem(atPath: "\(folder.path)/\(root)/refs/main")
    try folder.link(root + "/refs/main", to: "../../models--o--m/refs/main")
    #expect(try refusal("o/evil", environment).contains("refs/main was not found: it is a symbolic link out of"))
    try FileManager.default.removeItem(atPath: "\(folder.path)/\(root)/snapshots/\(Self.commit)")
    try folder.link("\(root)/snapshots/\(Self.commit)", to: "../../models--o--m/snapshots/" + Self.commit)
    #expect(try refusal("o/evil@" + Self.commit, environment).contains("it is a symbolic link out of"))
  }

  @Test func `a cache that lies behind a link is used`() throws {
    let folder = try ScratchFolder()
    try add("o/m", to: folder, at: "disk")
    try folder.link("hub", to: "disk")
    #expect(try ModelFolder(resolving: "o/m", environment: ["HF_HOME": folder.path]).weights.tensors.count == 1)
  }
}
