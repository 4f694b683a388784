import Foundation
import Testing

/// Bad input of every kind: one clear sentence, the right exit code, nothing that looks finished.
@Suite struct BadInputTests {
  let bench: Bench

  init() throws { bench = try Bench() }

  /// Quantizes a spoiled model and holds what is said against what must be in it.
  private func refusal(of model: String, status: Int32 = 3, saying parts: [String], options: [String] = Bench.quick)
    throws
  {
    let ending = try Command.run([model, "-o", bench["out.tar.zst"]] + options)
    #expect(ending.status == status)
    #expect(ending.output.isEmpty)
    #expect(ending.sentences.count == 1, "\(ending.errors)")
    for part in parts { #expect(ending.errors.contains(part), "\(ending.errors)") }
    #expect(!bench.names.contains("out.tar.zst"))
  }

  /// Changes bytes of a spoiled model's weights.
  private func edit(_ model: String, _ change: (inout Data) throws -> Void) throws {
    let file = URL(filePath: model + "/model.safetensors")
    var data = try Data(contentsOf: file)
    try change(&data)
    try data.write(to: file)
  }

  private func header(_ data: Data) -> Range<Int> {
    let count = data.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
    return 8..<8 + count
  }

  @Test func `a truncated shard is refused with both sizes`() throws {
    let model = try bench.model()
    try edit(model) { $0.removeLast(300_000) }
    try refusal(of: model, saying: ["model.safetensors", "at byte", "cut short"])
  }

  @Test func `wrong offsets are refused by tensor`() throws {
    let model = try bench.model()
    try edit(model) { data in
      let range = header(data)
      let text = String(decoding: data[range], as: UTF8.self)
      let spoiled = text.replacing("\"data_offsets\":[0,", with: "\"data_offsets\":[2,", maxReplacements: 1)
      data.replaceSubrange(range, with: Data(spoiled.utf8))
    }
    try refusal(of: model, saying: ["model.embed_tokens.weight", "2", "0 is expected"])
  }

  @Test func `a missing tensor is named`() throws {
    let model = try bench.model()
    try edit(model) { data in
      let range = header(data)
      let text = String(decoding: data[range], as: UTF8.self)
      data.replaceSubrange(
        range, with: Data(text.replacing("layers.2.mlp.up_proj", with: "layers.2.mlp.xx_proj").utf8))
    }
    try refusal(of: model, saying: ["model.layers.2.mlp.up_proj.weight", "is missing"])
  }

  @Test func `NaN weights are found and placed`() throws {
    let model = try bench.model()
    try edit(model) { data in
      let range = header(data)
      let text = String(decoding: data[range], as: UTF8.self)
      let entry = try #require(text.range(of: "\"model.layers.1.mlp.down_proj.weight\""))
      let offsets = try #require(text[entry.upperBound...].firstMatch(of: /data_offsets":\[(\d+),/))
      let start = range.upperBound + (Int(offsets.1) ?? 0)
      // Row 5, column 7 of [256, 768] in BF16.
      data.replaceSubrange(start + 2 * (5 * 768 + 7)..<start + 2 * (5 * 768 + 8), with: [0xC0, 0x7F])
    }
    try refusal(of: model, saying: ["model.layers.1.mlp.down_proj.weight", "NaN", "row 5, column 7"])
  }

  @Test func `an unknown model type is refused with those that are known`() throws {
    let model = try bench.model()
    let file = URL(filePath: model + "/config.json")
    let text = try String(contentsOf: file, encoding: .utf8)
    try Data(text.replacing("\"qwen2\"", with: "\"mamba9\"").utf8).write(to: file)
    try refusal(of: model, saying: ["mamba9", "qwen2", "llama"])
  }

  @Test func `a model that is nowhere is refused with where was looked`() throws {
    try refusal(of: "no/such-model", saying: ["no/such-model", "Hugging Face cache", "download"])
  }

  @Test func `an output that cannot be written is refused`() throws {
    let ending = try Command.run([Bench.pocket, "-o", "/nonexistent/folder/out.tar.zst"] + Bench.quick)
    #expect(ending.status == 3)
    #expect(ending.errors.contains("/nonexistent/folder/out.tar.zst"))
  }

  @Test func `a disk that fills up ends the run with 5 and nothing that looks finished`() throws {
    let line = "ulimit -f 1000; \"$Q\" '\(Bench.pocket)' -o '\(bench["out.tar.zst"])' --method rtn --no-verify -q"
    let ending = try Command.shell(line)
    #expect(ending.status == 5, "\(ending.errors)")
    #expect(ending.errors.contains("cannot write"))
    #expect(!bench.names.contains("out.tar.zst"))
  }

  @Test func `a run that needs more memory than allowed is refused before it starts`() throws {
    try refusal(of: Bench.pocket, status: 5, saying: ["--max-memory"], options: Bench.quick + ["--max-memory", "1M"])
    #expect(bench.names.isEmpty)
  }
}

/// Damage to an artifact is found wherever it is.
@Suite struct DamagedArtifactTests {
  @Test func `a flipped bit anywhere is found by inspect and verify`() throws {
    let bench = try Bench()
    let path = bench["whole.tar.zst"]
    #expect(try Command.run([Bench.pocket, "-o", path] + Bench.quick).status == 0)
    let whole = try Data(contentsOf: URL(filePath: path))
    #expect(try Command.run(["inspect", path, "--check", "-q"]).status == 0)
    // First and last bytes, the seek table, and places between.
    var places = [0, 5, whole.count - 1, whole.count - 9, whole.count - 200]
    places += (1...7).map { whole.count * $0 / 8 }
    for (index, place) in places.enumerated() {
      var damaged = whole
      damaged[place] ^= 1 << (index % 8)
      try damaged.write(to: URL(filePath: bench["damaged.tar.zst"]))
      let ending = try Command.run(["inspect", bench["damaged.tar.zst"], "--check", "-q"])
      #expect(ending.status == 7, "byte \(place): \(ending.errors)")
      #expect(ending.sentences.count == 1)
      #expect(ending.errors.contains("damaged.tar.zst"))
    }
    var damaged = whole
    damaged[whole.count / 2] ^= 0x10
    try damaged.write(to: URL(filePath: bench["damaged.tar.zst"]))
    #expect(try Command.run(["verify", Bench.pocket, bench["damaged.tar.zst"], "-q"]).status == 7)
  }
}
