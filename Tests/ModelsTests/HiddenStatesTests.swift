import Foundation
import Tensors
import TestSupport
import Testing

@testable import Models

@Suite struct HiddenStatesTests {
  private static let chunks = [Sequences(lengths: [2, 1]), Sequences(lengths: [4]), Sequences(lengths: [])]

  private static func matrix(_ rows: Int, _ seed: UInt64) -> Matrix {
    var generator = SeededGenerator(seed: seed)
    return Matrix(rows: rows, columns: 5, values: generator.normals(rows * 5))
  }

  @Test func `what is written is read, gathered and added to, in memory as in a file`() throws {
    let folder = try TestFolder()
    let places = [(1, 3), (0, 0), (1, 0), (0, 2)].map { HiddenStates.Place(chunk: $0.0, row: $0.1) }
    var results: [[Matrix]] = []
    for spill in [nil, folder.path] {
      let states = try HiddenStates(chunks: Self.chunks, columns: 5, spillFolder: spill)
      #expect(states.rowCount == 7 && states.byteCount == 7 * 5 * 4)
      #expect(try states.read(1) == Matrix(rows: 4, columns: 5))
      try states.write(Self.matrix(3, 1), to: 0)
      try states.write(Self.matrix(4, 2), to: 1)
      try states.write(Matrix(rows: 0, columns: 5), to: 2)
      #expect(try states.read(0) == Self.matrix(3, 1) && states.read(1) == Self.matrix(4, 2))
      let gathered = try states.gather(places)
      #expect(gathered.rows(0..<1) == Self.matrix(4, 2).rows(3..<4))
      #expect(gathered.rows(3..<4) == Self.matrix(3, 1).rows(2..<3))
      try states.add(Self.matrix(4, 3), to: places, weights: [1, 0.5, -2, 0])
      #expect(try states.gather([places[3]]) == Self.matrix(3, 1).rows(2..<3))
      let zeros = try states.zeros()
      #expect(try zeros.read(0) == Matrix(rows: 3, columns: 5))
      results.append([try states.read(0), try states.read(1), try states.read(2), gathered])
      // The file has no name as long as it lives, and none after.
      #expect(try folder.names().isEmpty)
    }
    #expect(results[0] == results[1])
    let expected = zip(Self.matrix(3, 1).row(0), Self.matrix(4, 3).row(1)).map { $0 + 0.5 * $1 }
    #expect(zip(results[0][0].row(0), expected).allSatisfy { abs($0 - $1) < 1e-6 })
  }

  @Test func `nothing is gathered from nowhere`() throws {
    let folder = try TestFolder()
    for spill in [nil, folder.path] {
      let states = try HiddenStates(chunks: Self.chunks, columns: 5, spillFolder: spill)
      #expect(try states.gather([]) == Matrix(rows: 0, columns: 5))
      let empty = try HiddenStates(chunks: [], columns: 5, spillFolder: spill)
      #expect(empty.rowCount == 0)
    }
  }

  @Test func `a folder that is not there is refused by name`() throws {
    let missing = try TestFolder()("nowhere")
    #expect {
      _ = try HiddenStates(chunks: Self.chunks, columns: 5, spillFolder: missing)
    } throws: {
      guard case .spill(missing, let reason, false)? = $0 as? ModelError else { return false }
      return !reason.isEmpty
    }
  }
}
