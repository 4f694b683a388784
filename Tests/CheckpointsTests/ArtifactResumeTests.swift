import Foundation
import StrictJSON
import Tensors
import TestSupport
import Testing

@testable import Checkpoints

@Suite struct ArtifactResumeTests {
  private let model = SampleModel.small

  /// Every place at which a run may end: before each tensor, and after the last.
  private func interrupted(_ path: String, before index: Int) throws {
    var writer = try ArtifactWriter(path: path, plan: model.plan, fingerprint: "test")
    try model.write(into: &writer, until: index)
    // Dropped: what it has written stays, as after a kill.
  }

  private func expectedNotes(before index: Int) -> [JSONValue] {
    (0..<index).filter { model.plan.tensors[$0].endsGroup }.map { ["unit": .integer($0)] }
  }

  @Test func `a run that ends anywhere is continued to the same bytes`() throws {
    let scratch = try ScratchFolder()
    let whole = try model.write(to: scratch.file("whole"))
    for index in 0...model.tensors.count {
      let path = scratch.file("cut-\(index)")
      try interrupted(path, before: index)
      #expect(
        try scratch.names.filter { $0.hasPrefix("cut-\(index)") } == ["cut-\(index).journal", "cut-\(index).partial"])
      var writer = try ArtifactWriter.resume(path: path, plan: model.plan, fingerprint: "test")
      #expect(writer.notes == expectedNotes(before: index))
      try model.write(into: &writer)
      #expect(try writer.finish() == whole)
      #expect(try contents(path) == contents(scratch.file("whole")))
    }
    #expect(try scratch.names.count == model.tensors.count + 2)
  }

  @Test func `a run may be interrupted many times`() throws {
    let scratch = try ScratchFolder()
    let whole = try SampleModel.large.write(to: scratch.file("whole"))
    let plan = SampleModel.large.plan
    do {
      var writer = try ArtifactWriter(path: scratch.file("a"), plan: plan, fingerprint: "test")
      try SampleModel.large.write(into: &writer, until: 1)
    }
    for index in 2...plan.tensors.count {
      var writer = try ArtifactWriter.resume(path: scratch.file("a"), plan: plan, fingerprint: "test")
      try SampleModel.large.write(into: &writer, until: index)
    }
    let writer = try ArtifactWriter.resume(path: scratch.file("a"), plan: plan, fingerprint: "test")
    #expect(writer.nextTensor == plan.tensors.count)
    #expect(try writer.finish() == whole)
  }

  @Test func `a process that is killed leaves a run that can be continued`() async throws {
    let scratch = try ScratchFolder()
    let path = scratch.file("killed")
    await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
      var writer = try ArtifactWriter(path: path, plan: SampleModel.large.plan, fingerprint: "test")
      try SampleModel.large.write(into: &writer, until: 7)
      kill(getpid(), SIGKILL)
    }
    var writer = try ArtifactWriter.resume(path: path, plan: SampleModel.large.plan, fingerprint: "test")
    // The disk may not have had what was finished last.
    #expect([0, 2, 6].contains(writer.nextTensor))
    try SampleModel.large.write(into: &writer)
    let summary = try writer.finish()
    #expect(try summary == SampleModel.large.write(to: scratch.file("whole")))
  }

  @Test func `a line or frame that was cut short is done again`() throws {
    let scratch = try ScratchFolder()
    let whole = try model.write(to: scratch.file("whole"))
    let path = scratch.file("a")
    try interrupted(path, before: 5)
    let journal = try contents(path + ".journal")
    let partial = try contents(path + ".partial")
    for missing in [1, 10, 40] {
      try save(journal.dropLast(missing), path + ".journal")
      try save(partial + [0x28, 0xB5, 0x2F], path + ".partial")
      var writer = try ArtifactWriter.resume(path: path, plan: model.plan, fingerprint: "test")
      #expect(writer.nextTensor == 1)
      try model.write(into: &writer)
      #expect(try writer.finish() == whole)
    }
  }

  @Test func `another fingerprint is refused, and the difference named`() throws {
    let scratch = try ScratchFolder()
    let path = scratch.file("a")
    do { _ = try ArtifactWriter(path: path, plan: model.plan, fingerprint: "model=x; scheme=W4A16; seed=1") }
    do {
      _ = try ArtifactWriter.resume(path: path, plan: model.plan, fingerprint: "model=x; scheme=W4A16_ASYM; seed=1")
      Issue.record("resumed")
    } catch {
      let reason =
        #"the interrupted run is another one: it had "scheme=W4A16; seed=1", this one has "scheme=W4A16_ASYM; seed=1""#
      #expect(error == .malformed(file: path + ".journal", offset: 0, tensor: nil, problem: reason))
    }
    // The journal is as it was.
    _ = try ArtifactWriter.resume(path: path, plan: model.plan, fingerprint: "model=x; scheme=W4A16; seed=1")
  }

  @Test func `another plan is refused although the fingerprint agrees`() throws {
    let scratch = try ScratchFolder()
    try interrupted(scratch.file("a"), before: 5)
    #expect(throws: CheckpointError.self) {
      _ = try ArtifactWriter.resume(path: scratch.file("a"), plan: SampleModel.large.plan, fingerprint: "test")
    }
    // Other kinds and group ends cut other frames.
    let tensors = model.plan.tensors.map {
      ArtifactPlan.PlannedTensor($0.info, compression: .codes, endsGroup: false)
    }
    let plan = ArtifactPlan(members: SampleModel.members, tensors: tensors)
    #expect(throws: CheckpointError.self) {
      _ = try ArtifactWriter.resume(path: scratch.file("a"), plan: plan, fingerprint: "test")
    }
  }

  @Test func `bytes that changed between two runs are found`() throws {
    let scratch = try ScratchFolder()
    let path = scratch.file("a")
    try interrupted(path, before: 5)
    let journal = try contents(path + ".journal")
    let partial = try contents(path + ".partial")
    var changed = partial
    changed[partial.count / 2] ^= 1
    for spoiled in [changed, partial.dropLast(1), []] {
      try save(spoiled, path + ".partial")
      #expect(throws: CheckpointError.self) {
        _ = try ArtifactWriter.resume(path: path, plan: model.plan, fingerprint: "test")
      }
      try save(journal, path + ".journal")
    }
  }

  @Test func `a journal that is spoiled is refused`() throws {
    let scratch = try ScratchFolder()
    let path = scratch.file("a")
    try interrupted(path, before: 5)
    let lines = String(decoding: try contents(path + ".journal"), as: UTF8.self).split(separator: "\n").map(String.init)
    let spoiled = [
      "", "no newline", "{}\n", "[]\n", lines[0].replacing("journal", with: "diary") + "\n",
      lines[0] + "\n" + lines[2] + "\n" + lines[1] + "\n", lines[0] + "\n{}\n", lines[0] + "\n" + lines[2] + "\n",
      lines[0] + "\n" + lines[1].replacing("\"tensors\":1", with: "\"tensors\":3") + "\n",
      lines[0] + "\n" + lines[1].replacing("\"tensors\":1", with: "\"tensors\":4000") + "\n",
      lines[0] + "\n" + lines[1].replacing("\"frames\":[", with: "\"frames\":[4294967295,") + "\n",
      lines[0] + "\n" + lines[1].replacing("\"frames\":[", with: "\"frames\":[-1,") + "\n",
      lines[0] + "\n" + lines[1].replacing("\"byteCount\":", with: "\"byteCount\":1") + "\n",
    ]
    for text in spoiled {
      try save(Array(text.utf8), path + ".journal")
      #expect(throws: CheckpointError.self, "\(text)") {
        _ = try ArtifactWriter.resume(path: path, plan: model.plan, fingerprint: "test")
      }
    }
    try save(Array((lines.joined(separator: "\n") + "\n").utf8), path + ".journal")
    _ = try ArtifactWriter.resume(path: path, plan: model.plan, fingerprint: "test")
  }

  @Test func `without an interrupted run there is nothing to resume`() throws {
    let scratch = try ScratchFolder()
    #expect(
      throws: CheckpointError.notFound(
        scratch.file("a.journal"), reason: "there is no interrupted run to continue")
    ) { _ = try ArtifactWriter.resume(path: scratch.file("a"), plan: model.plan, fingerprint: "test") }
  }

  @Test func `a new run over an abandoned one begins anew`() throws {
    let scratch = try ScratchFolder()
    try interrupted(scratch.file("a"), before: 5)
    let again = try model.write(to: scratch.file("a"))
    #expect(try again == model.write(to: scratch.file("b")))
  }

  @Test func `two runs cannot write the same file at once`() throws {
    let scratch = try ScratchFolder()
    let path = scratch.file("a")
    let writer = try ArtifactWriter(path: path, plan: model.plan, fingerprint: "test")
    #expect(throws: CheckpointError.file(FileError(path: path + ".partial", operation: "lock", code: EWOULDBLOCK))) {
      _ = try ArtifactWriter(path: path, plan: model.plan, fingerprint: "test")
    }
    try writer.discard()
    #expect(try scratch.names.isEmpty)
  }

  @Test func `a folder that is interrupted anywhere is continued to the same bytes`() throws {
    let scratch = try ScratchFolder()
    var whole = try FolderWriter(path: scratch.file("whole"), plan: model.plan, fingerprint: "test")
    try model.write(into: &whole)
    let summary = try whole.finish()
    for index in 0...model.tensors.count {
      let path = scratch.file("cut-\(index)")
      do {
        var writer = try FolderWriter(path: path, plan: model.plan, fingerprint: "test")
        try model.write(into: &writer, until: index)
      }
      var writer = try FolderWriter.resume(path: path, plan: model.plan, fingerprint: "test")
      #expect(writer.notes == expectedNotes(before: index))
      try model.write(into: &writer)
      #expect(try writer.finish() == summary)
      for name in try FileManager.default.contentsOfDirectory(atPath: scratch.file("whole")) {
        #expect(try contents(path + "/" + name) == contents(scratch.file("whole/" + name)))
      }
    }
    #expect(try scratch.names.count == model.tensors.count + 2)
  }
}
