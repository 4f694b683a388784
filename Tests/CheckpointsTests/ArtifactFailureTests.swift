import Foundation
import Tensors
import TestSupport
import Testing

@testable import Checkpoints

@Suite struct ArtifactFailureTests {
  private let model = SampleModel.small

  private func isOutOfSpace(_ error: any Error) -> Bool {
    if case CheckpointError.file(let error) = error { error.isOutOfSpace } else { false }
  }

  @Test(.enabled(if: FileManager.default.fileExists(atPath: "/dev/full"), "needs /dev/full"))
  func `a full disk is an error that says so`() throws {
    let scratch = try ScratchFolder()
    try FileManager.default.createSymbolicLink(atPath: scratch.file("a.partial"), withDestinationPath: "/dev/full")
    #expect { _ = try ArtifactWriter(path: scratch.file("a"), plan: model.plan, fingerprint: "test") } throws: {
      isOutOfSpace($0)
    }
  }

  @Test func `a run that meets the largest size of a file can be resumed with more room`() async throws {
    let scratch = try ScratchFolder()
    let path = scratch.file("a")
    await #expect(processExitsWith: .exitCode(5)) { [path = path as String] in
      // Without this the system ends the process instead of refusing the write.
      signal(SIGXFSZ, SIG_IGN)
      var limit = rlimit(rlim_cur: 8 << 20, rlim_max: 8 << 20)
      setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
      do {
        _ = try SampleModel.large.write(to: path)
      } catch CheckpointError.file(let error) where error.isOutOfSpace {
        exit(5)
      }
    }
    #expect(try scratch.names == ["a.journal", "a.partial"])
    var writer = try ArtifactWriter.resume(path: path, plan: SampleModel.large.plan, fingerprint: "test")
    #expect(writer.nextTensor > 0)
    try SampleModel.large.write(into: &writer)
    #expect(try writer.finish() == SampleModel.large.write(to: scratch.file("b")))
  }

  @Test func `a folder that is not there, or cannot be written, is an error with its path`() throws {
    let scratch = try ScratchFolder()
    #expect(
      throws: CheckpointError.file(
        FileError(path: scratch.file("absent/a.partial"), operation: "open", code: ENOENT))
    ) { _ = try ArtifactWriter(path: scratch.file("absent/a"), plan: model.plan, fingerprint: "test") }
    #expect(throws: CheckpointError.file(FileError(path: "/dev/null/a.partial", operation: "open", code: ENOTDIR))) {
      _ = try ArtifactWriter(path: "/dev/null/a", plan: model.plan, fingerprint: "test")
    }
    #expect(throws: CheckpointError.self) {
      _ = try FolderWriter(path: scratch.file("absent/a"), plan: model.plan, fingerprint: "test")
    }
    #expect(throws: CheckpointError.self) {
      _ = try FolderWriter(path: "/dev/null/a", plan: model.plan, fingerprint: "test")
    }
  }

  @Test(.enabled(if: geteuid() != 0, "the superuser may write anywhere"))
  func `a folder without permission is refused`() throws {
    let scratch = try ScratchFolder()
    chmod(scratch.path, 0o500)
    defer { chmod(scratch.path, 0o700) }
    #expect(throws: CheckpointError.file(FileError(path: scratch.file("a.partial"), operation: "open", code: EACCES))) {
      _ = try ArtifactWriter(path: scratch.file("a"), plan: model.plan, fingerprint: "test")
    }
  }

  @Test func `a folder in the place of the file is found before the work`() throws {
    let scratch = try ScratchFolder()
    #expect(throws: CheckpointError.file(FileError(path: scratch.path, operation: "replace", code: EISDIR))) {
      _ = try ArtifactWriter(path: scratch.path, plan: model.plan, fingerprint: "test")
    }
  }

  @Test func `a folder that has something in it is not overwritten, an empty one is filled`() throws {
    let scratch = try ScratchFolder()
    let path = scratch.file("folder")
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    try save([1], path + "/precious")
    #expect(throws: CheckpointError.file(FileError(path: path, operation: "replace", code: ENOTEMPTY))) {
      _ = try FolderWriter(path: path, plan: model.plan, fingerprint: "test")
    }
    #expect(try scratch.names == ["folder"])
    try FileManager.default.removeItem(atPath: path + "/precious")
    var writer = try FolderWriter(path: path, plan: model.plan, fingerprint: "test")
    try model.write(into: &writer)
    _ = try writer.finish()
    #expect(try contents(path + "/config.json") == contents(path + "/config.json"))
    #expect(try scratch.names == ["folder"])
  }

  @Test func `a file in the folder's place is refused`() throws {
    let scratch = try ScratchFolder()
    try save([1], scratch.file("a"))
    #expect(throws: CheckpointError.self) {
      _ = try FolderWriter(path: scratch.file("a"), plan: model.plan, fingerprint: "test")
    }
  }

  @Test func `a folder that is given up leaves nothing`() throws {
    let scratch = try ScratchFolder()
    let writer = try FolderWriter(path: scratch.file("a"), plan: model.plan, fingerprint: "test")
    try writer.discard()
    #expect(try scratch.names.isEmpty)
  }

  @Test func `a file that has the name stays until the new one is complete`() throws {
    let scratch = try ScratchFolder()
    try save([1, 2, 3], scratch.file("a"))
    var writer = try ArtifactWriter(path: scratch.file("a"), plan: model.plan, fingerprint: "test")
    try model.write(into: &writer)
    #expect(try contents(scratch.file("a")) == [1, 2, 3])
    _ = try writer.finish()
    try Artifact(path: scratch.file("a")).check()
  }

  @Test func `opening what is no artifact says what it is`() throws {
    let scratch = try ScratchFolder()
    #expect(throws: CheckpointError.file(FileError(path: scratch.file("a"), operation: "open", code: ENOENT))) {
      try Artifact(path: scratch.file("a"))
    }
    #expect(throws: CheckpointError.file(FileError(path: scratch.path, operation: "read", code: EISDIR))) {
      try Artifact(path: scratch.path)
    }
    mkfifo(scratch.file("pipe"), 0o600)
    #expect(throws: CheckpointError.self) { try Artifact(path: scratch.file("pipe")) }
    try save(Array("not an artifact, just a text that is long enough to hold a footer\n".utf8), scratch.file("text"))
    do {
      _ = try Artifact(path: scratch.file("text"))
      Issue.record("opened")
    } catch {
      #expect(error.description.contains("does not end with a seek table; it is cut short or no artifact"))
    }
  }
}
