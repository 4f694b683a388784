import Kernels
import Synchronization
import Tensors
import TestSupport
import Testing

/// Loops that follow each other closely: products of several weights in one, and threads that wait awake.
@Suite(.serialized) struct CloseLoopTests {
  @Test(arguments: [1, 2, 3, 4, 5, 19])
  func `products of several weights are those of each, in every bit`(tokens: Int) {
    let weights = [
      QuantizedCase(.uint4, 70, 160, groupSize: 32, hasZeroPoints: true),
      QuantizedCase(.uint4, 33, 160, groupSize: 32, hasZeroPoints: true),
      QuantizedCase(.int8, 17, 160, groupSize: 160, hasZeroPoints: false),
      QuantizedCase(.float8E4M3, 40, 160, groupSize: 160, hasZeroPoints: false),
      QuantizedCase(.uint4, 1, 160, groupSize: 16, hasZeroPoints: false),
    ]
    let x = weights[0].activations(tokens)
    for activations in PackedMatrix.Activations.allCases {
      let alone = weights.map { weight in
        weight.packed.product(x, activations: weight.packed.hasIntegerProduct ? activations : .float)
      }
      let together = PackedMatrix.products(weights.map(\.packed), x, activations: activations)
      #expect(zip(alone, together).allSatisfy { $0.isIdentical(to: $1) })
      #expect(PackedMatrix.products([], x, activations: activations).isEmpty)
    }
    let expected = weights[0].packed.integerProduct(x, InstructionSet.current.integerKernels)
    #expect(weights[0].packed.product(x, activations: .int8).isIdentical(to: expected))
  }

  @Test func `threads that wait awake do every task of every loop once`() {
    let before = Parallel.threads
    defer { Parallel.threads = before }
    for threads in [1, 2, 3, 7] {
      Parallel.threads = threads
      let sums: [Int] = Parallel.withAwakeThreads {
        (0..<3000).map { round in
          let count = round % 37
          let done = Parallel.map(count) { task in task * task + round }
          return done.reduce(0, +)
        }
      }
      for (round, sum) in sums.enumerated() {
        let count = round % 37
        #expect(sum == (0..<count).reduce(0) { $0 + $1 * $1 + round })
      }
    }
  }

  @Test func `threads that are done take over what slow ones have left, and nothing is done twice`() {
    let before = Parallel.threads
    defer { Parallel.threads = before }
    for threads in [2, 5, 16] {
      Parallel.threads = threads
      for slow in [0, 150, 299] {
        let runs = (0..<300).map { _ in Counter() }
        let sum: [Int] = Parallel.withAwakeThreads {
          Parallel.map(runs.count) { task in
            runs[task].value.wrappingAdd(1, ordering: .relaxed)
            // What the slow one's thread has left is taken by others.
            return (0..<(task == slow ? 2_000_000 : 100)).reduce(task) { $0 &* 31 &+ $1 }
          }
        }
        #expect(sum.count == 300)
        #expect(runs.allSatisfy { $0.value.load(ordering: .relaxed) == 1 })
      }
    }
  }

  private final class Counter: Sendable {
    let value = Atomic<Int>(0)
  }

  @Test func `loops within loops and other callers are as ever, and errors pass`() {
    struct Stop: Error {}
    let nested: [[Int]] = Parallel.withAwakeThreads {
      Parallel.map(9) { outer in
        Parallel.withAwakeThreads { Parallel.map(50) { inner in outer * 100 + inner } }
      }
    }
    #expect(nested == (0..<9).map { outer in (0..<50).map { outer * 100 + $0 } })
    #expect(throws: Stop.self) { try Parallel.withAwakeThreads { throw Stop() } }
    #expect(Parallel.withAwakeThreads { Parallel.map(5) { $0 } } == [0, 1, 2, 3, 4])
  }
}
