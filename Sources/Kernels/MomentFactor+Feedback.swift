package import CKernels
internal import COpenBLAS
internal import Tensors

extension MomentFactor {
  /// How a tile of rows is rounded: what `ck_feedback_tile` says, by channel.
  package struct Grid: Sendable {
    package var kind: ck_feedback_kind
    package var lowest: Int32 = 0
    package var highest: Int32 = 0
    /// The index of each channel's scale.
    package var cells: [Int32]
    /// Scales of a row.
    package var cellCount: Int
    /// A factor of each channel's scale; `nil` for ones.
    package var gains: [Float]?
    /// √H_jj of each channel, after folding.
    package var deviations: [Float]

    package init(kind: ck_feedback_kind, cells: [Int32], cellCount: Int, deviations: [Float]) {
      self.kind = kind
      self.cells = cells
      self.cellCount = cellCount
      self.deviations = deviations
    }
  }

  /// Columns that pass their errors on together: to the others of a span at first, then those of a span to all that
  /// are left, which reads what is owed less often.
  private static let block = 64

  /// Rounds some rows with feedback, on the calling thread.
  ///
  /// - Parameters:
  ///   - weights: `[rows, channels]`.
  ///   - scales: `[rows, cellCount]`; `zeros` likewise or `nil`.
  ///   - codes: receives `[rows, channels]`.
  ///   - losses: receives the expected squared error of each row's output under R′, `[rows]`; to tell it costs as much as
  ///     to round.
  package func round(
    _ weights: UnsafePointer<Float>, rows: Int, _ grid: Grid, scales: UnsafePointer<Float>,
    zeros: UnsafePointer<Float>?, codes: UnsafeMutablePointer<Int32>, losses: UnsafeMutablePointer<Double>? = nil
  ) {
    let size = rows * channels
    let cells = order.map { grid.cells[$0] }
    let gains = grid.gains.map { gains in order.map { gains[$0] } }
    let deviations = order.map { grid.deviations[$0] }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: 3 * size) { room in
      withUnsafeTemporaryAllocation(of: Int32.self, capacity: size) { placed in
        guard let lined = room.baseAddress, let placed = placed.baseAddress else { return }
        let (owed, errors) = (lined + size, lined + 2 * size)
        owed.update(repeating: 0, count: size)
        for row in 0..<rows {
          let (source, target) = (weights + row * channels, lined + row * channels)
          for (place, channel) in order.enumerated() { target[place] = source[channel] }
        }
        cells.withUnsafeBufferPointer { cells in
          deviations.withUnsafeBufferPointer { deviations in
            withOptional(gains) { gains in
              var tile = ck_feedback_tile(
                kind: grid.kind, lowest: grid.lowest, highest: grid.highest, rows: rows, places: channels,
                weights: lined, scales: scales, zeros: zeros, cells: grid.cellCount, cell: cells.baseAddress,
                gains: gains, deviations: deviations.baseAddress, owed: owed,
                errors: errors, codes: placed)
              walk(&tile)
            }
          }
        }
        for row in 0..<rows {
          let (source, target) = (placed + row * channels, codes + row * channels)
          for (place, channel) in order.enumerated() { target[channel] = source[place] }
        }
        guard let losses else { return }
        if let l = lower {
          cblas_strmm(
            CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, Int32(rows), Int32(channels), 1, l,
            Int32(channels), errors, Int32(channels))
        }
        for row in 0..<rows { losses[row] = ck_sum_of_squares(errors + row * channels, channels) }
      }
    }
  }

  private func walk(_ tile: inout ck_feedback_tile) {
    MatrixProduct.singleThreaded
    let l = lower
    for span in RoundedFactor.spans(channels).reversed() {
      var end = span.upperBound
      while end > span.lowerBound {
        let start = max(span.lowerBound, end - Self.block)
        ck_feedback_block(&tile, l, start, end)
        if let l { passOn(&tile, l, start..<end, to: span.lowerBound..<start) }
        end = start
      }
      if let rounded {
        rounded.addProduct(tile.errors, rows: tile.rows, of: span, toEarlier: tile.owed)
      } else if let l {
        passOn(&tile, l, span, to: 0..<span.lowerBound)
      }
    }
  }

  /// Adds what the errors of some places ask of earlier ones.
  private func passOn(
    _ tile: inout ck_feedback_tile, _ l: UnsafePointer<Float>, _ places: Range<Int>, to earlier: Range<Int>
  ) {
    guard !earlier.isEmpty else { return }
    cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(tile.rows), Int32(earlier.count), Int32(places.count), 1,
      tile.errors + places.lowerBound, Int32(channels), l + places.lowerBound * channels + earlier.lowerBound,
      Int32(channels), 1, tile.owed + earlier.lowerBound, Int32(channels))
  }
}

private func withOptional(_ values: [Float]?, _ body: (UnsafePointer<Float>?) -> Void) {
  guard let values else { return body(nil) }
  values.withUnsafeBufferPointer { body($0.baseAddress) }
}
