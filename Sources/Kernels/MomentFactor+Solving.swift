internal import COpenBLAS
internal import Tensors

extension MomentFactor {
  /// B · H′⁻¹ for rows B, in place, on the calling thread; 0 for channels that were always 0.
  ///
  /// - Parameters:
  ///   - values: `[rows, channels]`, by channel.
  ///   - deviations: √H_jj a channel, after folding.
  package func solve(_ values: UnsafeMutablePointer<Float>, rows: Int, deviations: [Float]) {
    MatrixProduct.singleThreaded
    guard rows > 0 else { return }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: rows * channels) { room in
      guard let placed = room.baseAddress else { return }
      for row in 0..<rows {
        for (place, channel) in order.enumerated() {
          let deviation = deviations[channel]
          placed[row * channels + place] = deviation > 0 ? values[row * channels + channel] / deviation : 0
        }
      }
      if let rounded {
        solve(placed, rows, rounded)
      } else if let l = lower {
        for transposition in [CblasTrans, CblasNoTrans] { solve(placed, rows, l, 0..<channels, transposition, 1) }
      }
      for row in 0..<rows {
        for (place, channel) in order.enumerated() {
          let deviation = deviations[channel]
          values[row * channels + channel] = deviation > 0 ? placed[row * channels + place] / deviation : 0
        }
      }
    }
  }

  /// Divides by Lᵀ, then by L, span by span: a span's square exactly, what it takes from the others rounded.
  ///
  /// Each division changes the sign of what it has found, so that products need only be added.
  private func solve(_ placed: UnsafeMutablePointer<Float>, _ rows: Int, _ rounded: RoundedFactor) {
    guard let l = lower else { return }
    let spans = RoundedFactor.spans(channels)
    for span in spans {
      solve(placed, rows, l, span, CblasTrans, -1)
      rounded.addProduct(placed, rows: rows, of: span, toLater: placed)
    }
    for span in spans.reversed() {
      solve(placed, rows, l, span, CblasNoTrans, -1)
      rounded.addProduct(placed, rows: rows, of: span, toEarlier: placed)
    }
  }

  /// factor · B · L⁻¹ or factor · B · L⁻ᵀ for some places and the square of L that belongs to them, in place.
  private func solve(
    _ placed: UnsafeMutablePointer<Float>, _ rows: Int, _ l: UnsafePointer<Float>, _ places: Range<Int>,
    _ transposition: CBLAS_TRANSPOSE, _ factor: Float
  ) {
    cblas_strsm(
      CblasRowMajor, CblasRight, CblasLower, transposition, CblasNonUnit, Int32(rows), Int32(places.count), factor,
      l + places.lowerBound * (channels + 1), Int32(channels), placed + places.lowerBound, Int32(channels))
  }
}
