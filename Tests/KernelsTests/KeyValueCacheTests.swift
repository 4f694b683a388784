import CKernels
import Tensors
import TestSupport
import Testing

@testable import Kernels

/// Attention of one query with cached keys and values.
@Suite struct KeyValueCacheTests {
  /// A cache of a case's keys and values, filled in steps.
  private static func cache(_ test: CausalAttentionTests.Case, step: Int) -> KeyValueCache {
    let (cache, keys, values) = (KeyValueCache(), test.keys, test.values)
    for start in stride(from: 0, to: keys.rows, by: step) {
      let range = start..<min(keys.rows, start + step)
      cache.append(keys: keys.rows(range), values: values.rows(range))
    }
    return cache
  }

  /// Cases with one query, at lengths around a block's and beyond what one thread does alone.
  static let cases: [CausalAttentionTests.Case] = CausalAttentionTests.cases.flatMap { test in
    [0, 14, 15, 16, 40, 700].map { past in
      var test = test
      (test.tokens, test.past) = (1, past)
      return test
    }
  }

  @Test(arguments: cases)
  func `one query agrees with the definition, whatever the instruction set`(test: CausalAttentionTests.Case) {
    let cache = Self.cache(test, step: 7)
    let (expected, bound) = CausalAttentionTests.reference(test)
    var vector: Matrix?
    for kernels in [Tables.portable] + Tables.vector {
      let found = test.attention.attend(test.queries, [cache], kernels)
      #expect(found.rows == 1 && found.columns == expected.count)
      for (index, value) in found.values.enumerated() {
        #expect(abs(Double(value) - expected[index]) <= bound[index], "\(Tables.name(kernels)), \(index)")
      }
      guard Tables.name(kernels) != "portable" else { continue }
      if let vector { #expect(found.isIdentical(to: vector), "\(Tables.name(kernels))") }
      vector = found
    }
  }

  @Test func `a text's attention has the same bits alone and beside others, whatever the number of threads`() {
    var test = CausalAttentionTests.Case(tokens: 1, past: 0)
    var (caches, queries, alone): ([KeyValueCache], [Float], [Float]) = ([], [], [])
    for past in [0, 700, 15, 16, 39] {
      test.past = past
      let cache = Self.cache(test, step: 7)
      caches.append(cache)
      queries += test.queries.values
      alone += test.attention(queries: test.queries, caches: [cache]).values
    }
    let together = Matrix(rows: 5, columns: queries.count / 5, values: queries)
    let expected = Matrix(rows: 5, columns: alone.count / 5, values: alone)
    nonisolated(unsafe) let texts = caches
    expectSameForAnyThreadCount { test.attention(queries: together, caches: texts) }
    #expect(test.attention(queries: together, caches: caches).isIdentical(to: expected))
  }

  @Test func `some rows of what was computed for several texts are added`() {
    let test = CausalAttentionTests.Case(tokens: 1, past: 66)
    let cache = KeyValueCache()
    for range in [0..<3, 3..<20, 20..<20, 20..<67] { cache.append(keys: test.keys, values: test.values, rows: range) }
    let (keys, values) = cache.matrices()
    #expect(cache.length == 67 && keys == test.keys && values == test.values)
  }

  @Test(arguments: [1, 5, 16, 33])
  func `a cache holds what was added, in any steps`(step: Int) {
    let test = CausalAttentionTests.Case(tokens: 1, past: 66)
    let cache = Self.cache(test, step: step)
    #expect(cache.length == 67)
    let (keys, values) = cache.matrices()
    #expect(keys == test.keys && values == test.values)
    #expect(KeyValueCache().matrices().keys.rows == 0)
  }
}
