import Foundation
import TestSupport
import Testing

/// Exit code 7: an artifact that is not what was written.
@Suite struct DamageTests {
  private static let seed: UInt64 = 17

  @Test func `a whole artifact passes`() throws {
    let bench = try Workbench.shared.get()
    let result = try Command.run("inspect", bench.output, "--check", "-q")
    #expect(result.status == 0 && result.output.contains("every byte checked") && result.error == "")
  }

  @Test func `a flipped bit anywhere is found, and loading never crashes`() throws {
    let bench = try Workbench.shared.get()
    let bytes = try bench.folder.bytes("out.tar.zst")
    var generator = SeededGenerator(seed: Self.seed)
    let folder = try TestFolder()
    let ends = [0, 4, 5, 6, 9, bytes.count - 1, bytes.count - 5, bytes.count - 9, bytes.count - 20, bytes.count - 60]
    let places = ends + (0..<30).map { _ in Int.random(in: 0..<bytes.count, using: &generator) }
    for place in places {
      var damaged = bytes
      damaged[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
      let path = try folder.write("damaged.tar.zst", damaged)
      let check = try Command.run("inspect", path, "--check", "-q")
      expect(check, fails: 7, saying: ["damaged.tar.zst"])
      let verify = try Command.run(["verify", bench.model, path, "-q"] + bench.judged)
      #expect(verify.status == 7 || verify.status == 3, "byte \(place): \(verify.status) \(verify.error)")
      #expect(verify.sentences.count == 1 && verify.output == "", "byte \(place): \(verify.error)")
      // Without a check damage may go unseen, but must not end the process.
      let loaded = try Command.run("generate", path, "--prompt", "a", "--max-tokens", "2", "-q")
      #expect([0, 3, 7].contains(loaded.status), "byte \(place): \(loaded.status) \(loaded.error)")
    }
  }

  @Test func `an artifact that was cut short or grew is found`() throws {
    let bench = try Workbench.shared.get()
    let bytes = try bench.folder.bytes("out.tar.zst")
    let folder = try TestFolder()
    for count in [0, 1, 8, 17, 100, bytes.count / 2, bytes.count - 1, bytes.count - 17] {
      let path = try folder.write("cut.tar.zst", bytes.prefix(count))
      expect(try Command.run("inspect", path, "--check", "-q"), fails: 7, saying: ["cut.tar.zst"])
      let verify = try Command.run(["verify", bench.model, path, "-q"] + bench.judged)
      #expect(verify.status == 3 || verify.status == 7, "\(count) bytes: \(verify.status) \(verify.error)")
    }
    let path = try folder.write("grown.tar.zst", bytes + [0])
    expect(try Command.run("inspect", path, "--check", "-q"), fails: 7, saying: ["grown.tar.zst"])
  }
}
