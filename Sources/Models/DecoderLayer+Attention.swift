internal import Kernels
internal import Quantization
internal import Tensors

extension DecoderLayer {
  /// Grouped attention on normalised rows, `[tokens, hiddenSize]`.
  func attend(
    _ a: GroupedAttention, _ x: Matrix, sequences: Sequences, tables: [RotaryTable], caches: [KeyValueCache]?,
    tap: Tap?
  ) throws(ModelError) -> Matrix {
    let (queryWidth, keyWidth) = (a.heads * a.headDimension, a.keyValueHeads * a.headDimension)
    var (queries, keys, values): (Matrix, Matrix, Matrix)
    if a.isFused {
      let all = try apply("self_attn.qkv_proj", x, tap)
      queries = all.columns(0..<queryWidth)
      keys = all.columns(queryWidth..<queryWidth + keyWidth)
      values = all.columns(queryWidth + keyWidth..<queryWidth + 2 * keyWidth)
    } else {
      let all = try apply(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], x, tap)
      (queries, keys, values) = (all[0], all[1], all[2])
    }
    func normalize() {
      guard let norms = a.headNorms else { return }
      queries = norm(norms.query)(queries, width: norms.span == .row ? nil : a.headDimension)
      keys = norm(norms.key)(keys, width: norms.span == .row ? nil : a.headDimension)
    }
    let follows = a.headNorms?.followsRotary ?? false
    if !follows { normalize() }
    if let clip = a.clip {
      queries.clip(clip)
      keys.clip(clip)
      values.clip(clip)
    }
    if let rotary = a.rotary {
      let positions = Self.positions(sequences, after: caches)
      let table = tables[rotary.table]
      table.rotate(&queries, headDimension: a.headDimension, pairing: rotary.pairing, positions: positions)
      table.rotate(&keys, headDimension: a.headDimension, pairing: rotary.pairing, positions: positions)
    }
    if follows { normalize() }
    cacheMaxima?.add(keys: keys, values: values)
    if let cacheRounding {
      keys = cacheRounding.keys(keys)
      values = cacheRounding.values(values)
    }
    let attention = CausalAttention(
      heads: a.heads, keyValueHeads: a.keyValueHeads, headDimension: a.headDimension, scale: a.scale, window: a.window,
      softcap: a.softcap, sinks: a.hasSinks ? vectors["self_attn.sinks"] : nil)
    let mixed = Self.mix(attention, queries, keys, values, sequences, caches)
    return try apply(a.outputName, mixed, tap)
  }

  /// Latent attention on normalised rows, keys and values expanded for every head.
  func attend(
    _ a: LatentAttention, _ x: Matrix, sequences: Sequences, tables: [RotaryTable], caches: [KeyValueCache]?,
    tap: Tap?
  ) throws(ModelError) -> Matrix {
    var queries: Matrix
    if a.queryRank != nil {
      let compressed = norm("self_attn.q_a_layernorm")(try apply("self_attn.q_a_proj", x, tap))
      queries = try apply("self_attn.q_b_proj", compressed, tap)
    } else {
      queries = try apply("self_attn.q_proj", x, tap)
    }
    let both = try apply("self_attn.kv_a_proj_with_mqa", x, tap)
    let compressed = norm("self_attn.kv_a_layernorm")(both.columns(0..<a.keyValueRank))
    var turning = both.columns(a.keyValueRank..<both.columns)
    let expanded = try apply("self_attn.kv_b_proj", compressed, tap)
    let positions = Self.positions(sequences, after: caches)
    let table = tables[a.rotary.table]
    table.rotate(
      &queries, headDimension: a.headDimension, offset: a.plainDimension, pairing: a.rotary.pairing,
      positions: positions)
    table.rotate(&turning, headDimension: a.rotaryDimension, pairing: a.rotary.pairing, positions: positions)
    let (keys, values) = Self.split(a, expanded, turning)
    let attention = CausalAttention(
      heads: a.heads, keyValueHeads: a.heads, headDimension: a.headDimension, valueDimension: a.valueDimension,
      scale: a.scale)
    return try apply("self_attn.o_proj", Self.mix(attention, queries, keys, values, sequences, caches), tap)
  }

  /// Keys, each head's own channels before the shared turning ones, and values.
  private static func split(_ a: LatentAttention, _ expanded: Matrix, _ turning: Matrix) -> (Matrix, Matrix) {
    let (plain, turned, value, head) = (a.plainDimension, a.rotaryDimension, a.valueDimension, a.headDimension)
    let keys = Matrix(rows: expanded.rows, columns: a.heads * head) { keys in
      nonisolated(unsafe) let keys = keys
      Parallel.forEach(expanded.rows) { row in
        for index in 0..<a.heads {
          let target = row * a.heads * head + index * head
          let source = row * expanded.columns + index * (plain + value)
          for channel in 0..<plain { keys[target + channel] = expanded.values[source + channel] }
          for channel in 0..<turned {
            keys[target + plain + channel] = turning.values[row * turned + channel]
          }
        }
      }
    }
    let values = Matrix(rows: expanded.rows, columns: a.heads * value) { values in
      nonisolated(unsafe) let values = values
      Parallel.forEach(expanded.rows) { row in
        for index in 0..<a.heads {
          let target = row * a.heads * value + index * value
          let source = row * expanded.columns + index * (plain + value) + plain
          for channel in 0..<value { values[target + channel] = expanded.values[source + channel] }
        }
      }
    }
    return (keys, values)
  }

  private static func positions(_ sequences: Sequences, after caches: [KeyValueCache]?) -> [Int] {
    sequences.ranges.enumerated().flatMap { index, range in
      let past = caches?[index].length ?? 0
      return range.map { $0 - range.lowerBound + past }
    }
  }

  /// Attends within each text.
  private static func mix(
    _ attention: CausalAttention, _ queries: Matrix, _ keys: Matrix, _ values: Matrix, _ sequences: Sequences,
    _ caches: [KeyValueCache]?
  ) -> Matrix {
    let ranges = sequences.ranges
    if let caches {
      precondition(caches.count == ranges.count, "\(caches.count) caches for \(ranges.count) texts")
      for (cache, range) in zip(caches, ranges) { cache.append(keys: keys, values: values, rows: range) }
      if ranges.allSatisfy({ $0.count == 1 }) { return attention(queries: queries, caches: caches) }
    }
    if ranges.count == 1, caches.map({ $0[0].length == queries.rows }) ?? true {
      return attention(queries: queries, keys: keys, values: values)
    }
    var joined: [Float] = []
    for (index, range) in ranges.enumerated() {
      let own = queries.rows(range)
      guard let cache = caches?[index] else {
        joined += attention(queries: own, keys: keys.rows(range), values: values.rows(range)).values
        continue
      }
      if range.count == 1 {
        joined += attention(queries: own, caches: [cache]).values
      } else {
        let all = cache.length == range.count ? (keys.rows(range), values.rows(range)) : cache.matrices()
        joined += attention(queries: own, keys: all.0, values: all.1).values
      }
    }
    return Matrix(rows: queries.rows, columns: joined.count / max(1, queries.rows), values: joined)
  }
}

extension Matrix {
  /// Holds every value within ±bound.
  fileprivate mutating func clip(_ bound: Float) {
    values.withUnsafeMutableBufferPointer { values in
      for index in values.indices { values[index] = min(max(values[index], -bound), bound) }
    }
  }
}
