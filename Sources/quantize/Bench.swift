import ArgumentParser
import Foundation
import Kernels
import Tensors

/// `quantize bench`: the quantized kernels against the machine's own limits.
struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Time the quantized kernels beside OpenBLAS and the speed of memory.",
    discussion: """
      Products of one and of 64 rows of activations with a weight matrix, 4-bit groups of 128, 8-bit rows and float8 \
      rows, interleaved with the same product by OpenBLAS in float; medians of several rounds. The matrices are cycled \
      so that one row reads memory, not the cache.
      """)

  @Option(help: ArgumentHelp("Output features.", valueName: "n"))
  var rows = 4096

  @Option(help: ArgumentHelp("Input features.", valueName: "n"))
  var columns = 4096

  @Option(help: ArgumentHelp("Timed rounds.", valueName: "n"))
  var rounds = 9

  @Option(help: ArgumentHelp("Threads to use.", valueName: "n"))
  var threads: Int?

  func run() throws {
    if let threads { Parallel.threads = threads }
    print("\(InstructionSet.current.rawValue) kernels, \(Parallel.threads) threads, OpenBLAS \(MatrixProduct.blasCore)")
    print("weights \(rows) × \(columns); GB/s counts codes, scales and zero points")
    let copies = 4
    let kinds: [(String, PackedMatrix.Kind, Int)] = [
      ("int4 g128", .uint4, 128), ("int8 rows", .int8, columns), ("FP8 rows", .float8E4M3, columns),
    ]
    let weights = kinds.map { title, kind, group in
      (title, (0..<copies).map { Self.weights(kind, rows: rows, columns: columns, group: group, seed: UInt32($0)) })
    }
    let dense = (0..<2).map { Tensor([rows, columns], floats: Self.floats(rows * columns, seed: UInt32(90 + $0))) }
    for tokens in [1, 64] {
      let x = Matrix(rows: tokens, columns: columns, values: Self.floats(tokens * columns, seed: 7))
      var times = [[Double]](repeating: [], count: weights.count + 1)
      for round in 0...rounds {
        for (index, entry) in weights.enumerated() {
          let seconds = Self.seconds { _ = entry.1[round % copies].product(x) }
          if round > 0 { times[index].append(seconds) }
        }
        let seconds = Self.seconds {
          _ = tokens == 1 ? DenseRows(dense[round % 2]).product(x) : MatrixProduct.product(x, dense[round % 2])
        }
        if round > 0 { times[weights.count].append(seconds) }
      }
      let medians = times.map { $0.sorted()[$0.count / 2] }
      let work = 2.0 * Double(rows * columns * tokens)
      print("\n\(tokens) row\(tokens == 1 ? "" : "s")        ms      GFLOP/s   GB/s   × float")
      for (index, median) in medians.enumerated() {
        let title = index < weights.count ? weights[index].0 : "float32"
        let bytes = index < weights.count ? weights[index].1[0].byteCount : rows * columns * 4
        print(
          title.padding(toLength: 12, withPad: " ", startingAt: 0)
            + String(
              format: "%8.2f %10.1f %8.1f %8.2f", median * 1000, work / median / 1e9, Double(bytes) / median / 1e9,
              medians[weights.count] / median))
      }
    }
  }

  private static func seconds(_ body: () -> Void) -> Double {
    let start = ProcessInfo.processInfo.systemUptime
    body()
    return ProcessInfo.processInfo.systemUptime - start
  }

  private static func floats(_ count: Int, seed: UInt32) -> [Float] {
    var state = seed &* 2_654_435_761 | 1
    return (0..<count).map { _ in
      state = state &* 1_664_525 &+ 1_013_904_223
      return Float(Int32(bitPattern: state) >> 8) * 0x1p-23
    }
  }

  private static func weights(_ kind: PackedMatrix.Kind, rows: Int, columns: Int, group: Int, seed: UInt32)
    -> PackedMatrix
  {
    let codes = floats(rows * columns, seed: seed).map { value -> UInt8 in
      switch kind {
      case .uint4: UInt8(min(15, max(0, value * 7.5 + 7.5)))
      case .int8: UInt8(bitPattern: Int8(value * 127))
      case .float8E4M3: UInt8(min(0x7E, max(0, abs(value) * 126)))
      }
    }
    let groups = (columns + group - 1) / group
    let scales = [Float](repeating: 0.01, count: rows * groups)
    return PackedMatrix(
      kind, codes: codes, outFeatures: rows, inFeatures: columns, groupSize: group, scales: scales,
      zeroPoints: kind == .uint4 ? [Float](repeating: 7, count: rows * groups) : nil)
  }
}
