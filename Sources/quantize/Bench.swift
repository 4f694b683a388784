import ArgumentParser
import Foundation
import Kernels
import Pipeline
import Tensors

/// `quantize bench`: the quantized kernels against the machine's own limits.
struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Time the quantized kernels beside OpenBLAS and the machine's limits.",
    discussion: """
      Products of one and of more rows of activations with a weight matrix: 4-bit groups of 128 and of 32, 8-bit rows \
      and float8 rows; with activations in float, and rounded to int8 where there are integer products; and of BF16 \
      where the processor multiplies it faster than float. Interleaved with the same product by OpenBLAS in float, with \
      reading the weights and doing nothing else, and with loops of the kernels' instructions on registers; medians of \
      several rounds. The matrices are cycled so that one row reads memory, not the cache.
      """)

  @Option(help: ArgumentHelp("Output features.", valueName: "n"))
  var rows = 4096

  @Option(help: ArgumentHelp("Input features.", valueName: "n"))
  var columns = 4096

  @Option(parsing: .upToNextOption, help: ArgumentHelp("Numbers of rows of activations.", valueName: "n"))
  var tokens = [1, 64, 512]

  @Option(help: ArgumentHelp("Timed rounds.", valueName: "n"))
  var rounds = 9

  @Option(help: ArgumentHelp("Threads to use.", valueName: "n"))
  var threads: Int?

  @Option(
    help: ArgumentHelp(
      "Time this model instead: a prompt read at once, and tokens one by one of one text and of several at a time, drawn "
        + "at random.", valueName: "model"))
  var model: String?

  @Option(help: ArgumentHelp("With --model: tokens of the prompt.", valueName: "n"))
  var promptTokens = 512

  @Option(help: ArgumentHelp("With --model: tokens one by one, of each text.", valueName: "n"))
  var generatedTokens = 128

  @Option(
    parsing: .upToNextOption, help: ArgumentHelp("With --model: numbers of texts at a time.", valueName: "n"))
  var batch = [1, 4, 8]

  @Option(help: ArgumentHelp("With --model: auto, float or int8, as for generate.", valueName: "how"))
  var activations = ActivationsArgument(.auto)

  @Option(help: ArgumentHelp("With --model: a folder for its weights, as for generate.", valueName: "dir"))
  var weightCache: String?

  @Flag(help: "With --model: print JSON.")
  var json = false

  /// Something timed: a product, or a limit.
  private struct Contestant {
    let title: String
    /// Multiply-adds of one run; 0 where it only reads.
    let work: Double
    /// Bytes that a run has to read.
    let bytes: Int
    /// What no kernel of this sort can exceed, by index; a limit has none.
    var limit: Int?
    let run: (_ round: Int) -> Void
  }

  func validate() throws {
    guard rows > 0, columns > 0, rounds > 0, tokens.allSatisfy({ $0 > 0 }), promptTokens > 0, generatedTokens > 0 else {
      throw ValidationError("Rows, columns, tokens and rounds are at least 1.")
    }
    try Generate.validate(batches: batch)
    if json, model == nil { throw ValidationError("--json is for --model") }
    if weightCache != nil, model == nil { throw ValidationError("--weight-cache is for --model") }
  }

  func run() throws {
    if let threads { Parallel.threads = threads }
    if let model {
      return try ModelBench.run(
        model, activations.value, prompt: promptTokens, generated: generatedTokens, batches: batch, rounds: rounds,
        weightCache: weightCache, json: json)
    }
    print("\(InstructionSet.current.rawValue) kernels, \(Parallel.threads) threads, \(MatrixProduct.library)")
    print("weights \(rows) × \(columns); GB/s counts codes, scales and zero points")
    print("of limit: of the speed of reading for one row, of the same instructions on registers for more")
    let kinds: [(title: String, kind: PackedMatrix.Kind, group: Int)] = [
      ("int4 g128", .uint4, 128), ("int4 g32", .uint4, 32), ("int8 rows", .int8, columns),
      ("FP8 rows", .float8E4M3, columns),
    ]
    // As many copies as timed things of a round may read, and one more.
    let weights = kinds.map { entry in
      (0..<4).map { Self.weights(entry.kind, rows: rows, columns: columns, group: entry.group, seed: UInt32($0)) }
    }
    let dense = (0..<2).map { Tensor([rows, columns], floats: Self.floats(rows * columns, seed: UInt32(90 + $0))) }
    let halves =
      Bfloat16Product.current == nil
      ? [] : dense.map { Tensor([rows, columns], floats: $0.floats(), as: .bfloat16) }
    for tokens in tokens {
      let x = Matrix(rows: tokens, columns: columns, values: Self.floats(tokens * columns, seed: 7))
      let work = Double(rows * columns * tokens)
      var contestants = [
        Contestant(title: "read", work: 0, bytes: weights[2][0].byteCount) {
          MachineLimit.read(weights[2][($0 + 3) % 4])
        }
      ]
      for limit in MachineLimit.allCases {
        guard let done = limit.run() else { continue }
        contestants.append(Contestant(title: limit.title, work: done, bytes: 0) { _ in _ = limit.run() })
      }
      let limits = contestants.map(\.title)
      func limit(_ mix: MachineLimit) -> Int? { tokens == 1 ? 0 : limits.firstIndex(of: mix.title) }
      for (entry, copies) in zip(kinds, weights) {
        for (index, activations) in PackedMatrix.Activations.allCases.enumerated() {
          guard activations == .float || copies[0].hasIntegerProduct else { continue }
          let mix: MachineLimit = activations == .float ? .float : entry.kind == .uint4 ? .uint4 : .int8
          contestants.append(
            Contestant(
              title: "\(entry.title), \(activations)", work: work, bytes: copies[0].byteCount, limit: limit(mix)
            ) { _ = copies[($0 + index) % 4].product(x, activations: activations) })
        }
      }
      if tokens > 1, let limit = limit(.bfloat16) {
        contestants.append(
          Contestant(title: "BF16", work: work, bytes: rows * columns * 2, limit: limit) {
            _ = MatrixProduct.product(x, halves[$0 % 2], .bfloat16)
          })
      }
      contestants.append(
        Contestant(title: "float32", work: work, bytes: rows * columns * 4, limit: limit(.float)) {
          let weight = dense[$0 % 2]
          _ = tokens == 1 ? DenseRows(weight).product(x) : MatrixProduct.product(x, weight)
        })
      // As in generation, where products follow each other.
      let medians = Parallel.withAwakeThreads { Self.medians(contestants, rounds: rounds) }
      report(contestants, medians: medians, tokens: tokens)
    }
  }

  private static func medians(_ contestants: [Contestant], rounds: Int) -> [Double] {
    var times = [[Double]](repeating: [], count: contestants.count)
    for round in 0...rounds {
      for (index, contestant) in contestants.enumerated() {
        let start = ProcessInfo.processInfo.systemUptime
        contestant.run(round)
        let seconds = ProcessInfo.processInfo.systemUptime - start
        if round > 0 { times[index].append(seconds) }
      }
    }
    return times.map { $0.sorted()[$0.count / 2] }
  }

  private func report(_ contestants: [Contestant], medians: [Double], tokens: Int) {
    let count = "\(tokens) row\(tokens == 1 ? "" : "s")"
    print(
      "\n\(count.padding(toLength: 18, withPad: " ", startingAt: 0))      ms   GFLOP/s    GB/s  × float32  of limit")
    for (contestant, median) in zip(contestants, medians) {
      let isProduct = contestant.limit != nil
      let flops = 2 * contestant.work / median / 1e9
      let bandwidth = Double(contestant.bytes) / median / 1e9
      let ofLimit = contestant.limit.map { limit in
        let other = contestants[limit]
        return other.work > 0
          ? flops / (2 * other.work / medians[limit] / 1e9) : bandwidth / (Double(other.bytes) / medians[limit] / 1e9)
      }
      let cells = [
        (isProduct ? String(format: "%.2f", median * 1000) : "", 8),
        (contestant.work > 0 ? String(format: "%.1f", flops) : "", 10),
        (contestant.bytes > 0 ? String(format: "%.1f", bandwidth) : "", 8),
        (isProduct ? String(format: "%.2f", (medians.last ?? 0) / median) : "", 11),
        (ofLimit.map { String(format: "%.0f %%", $0 * 100) } ?? "", 10),
      ]
      let title = contestant.title.padding(toLength: 18, withPad: " ", startingAt: 0)
      print(cells.reduce(title) { $0 + String(repeating: " ", count: max(0, $1.1 - $1.0.count)) + $1.0 })
    }
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
