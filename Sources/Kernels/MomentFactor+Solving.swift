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
      if let l = lower {
        for transposition in [CblasTrans, CblasNoTrans] {
          cblas_strsm(
            CblasRowMajor, CblasRight, CblasLower, transposition, CblasNonUnit, Int32(rows), Int32(channels), 1, l,
            Int32(channels), placed, Int32(channels))
        }
      }
      for row in 0..<rows {
        for (place, channel) in order.enumerated() {
          let deviation = deviations[channel]
          values[row * channels + channel] = deviation > 0 ? placed[row * channels + place] / deviation : 0
        }
      }
    }
  }
}
