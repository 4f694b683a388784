package import CKernels
internal import COpenBLAS
internal import Tensors

extension MomentFactor {
  /// Scales and zero points of a tile of rows, one for each group.
  package struct Scales {
    /// `[rows, groups]`.
    package var scales: [Float]
    /// `[rows, groups]`; empty where zero is at code 0.
    package var zeros: [Float]
    /// The least and the greatest zero point.
    package var zeroRange: ClosedRange<Float>
    /// The type that scales are rounded to.
    package var type: ck_scale_type

    package init(scales: [Float], zeros: [Float], zeroRange: ClosedRange<Float>, type: ck_scale_type) {
      self.scales = scales
      self.zeros = zeros
      self.zeroRange = zeroRange
      self.type = type
    }
  }

  /// Fits scales and zero points to codes by least squares, one group after another, on the calling thread.
  ///
  /// With t the row's error times L, the group's best scale for codes c is (t + s·p)·p / (p·p), p = (c − z)∘d·L; each is
  /// rounded to its stored type before the next group is fitted. Zero points move by one at most.
  ///
  /// - Parameters:
  ///   - weights: `[rows, channels]`.
  ///   - numbers: what the codes stand for before zero points and scales, `[rows, channels]`.
  ///   - width: channels of a group.
  package func refit(
    _ fitted: inout Scales, _ weights: UnsafePointer<Float>, numbers: UnsafePointer<Float>, rows: Int, width: Int,
    deviations: [Float]
  ) {
    MatrixProduct.singleThreaded
    guard rows > 0 else { return }
    let l = lower
    let groups = (channels + width - 1) / width
    let places = placesOfChannels
    withUnsafeTemporaryAllocation(of: Float.self, capacity: (2 * rows + width + 2) * channels + rows * width) { room in
      guard let error = room.baseAddress else { return }
      let direction = error + rows * channels
      let lines = direction + rows * channels
      let ones = lines + width * channels
      let trial = ones + channels
      let scaled = trial + channels
      for row in 0..<rows {
        for channel in 0..<channels {
          let (index, cell) = (row * channels + channel, row * groups + channel / width)
          let zero = fitted.zeros.isEmpty ? 0 : fitted.zeros[cell]
          let value = (numbers[index] - zero) * fitted.scales[cell]
          error[row * channels + places[channel]] = (weights[index] - value) * deviations[channel]
        }
      }
      let size = Int32(channels)
      if let l {
        cblas_strmm(
          CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, Int32(rows), size, 1, l, size, error, size)
      }
      for group in 0..<groups {
        let first = group * width
        let count = min(width, channels - first)
        ones.update(repeating: 0, count: channels)
        for index in 0..<count {
          let (line, place) = (lines + index * channels, places[first + index])
          // What is above the diagonal is not L.
          line.update(repeating: 0, count: channels)
          if let l { line.update(from: l + place * channels, count: place + 1) } else { line[place] = 1 }
          cblas_sscal(size, deviations[first + index], line, 1)
          cblas_saxpy(size, 1, line, 1, ones, 1)
        }
        for row in 0..<rows {
          let zero = fitted.zeros.isEmpty ? 0 : fitted.zeros[row * groups + group]
          for index in 0..<count { scaled[row * count + index] = numbers[row * channels + first + index] - zero }
        }
        cblas_sgemm(
          CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(rows), size, Int32(count), 1, scaled, Int32(count), lines,
          size, 0, direction, size)
        for row in 0..<rows {
          fit(&fitted, row * groups + group, error + row * channels, direction + row * channels, ones, trial)
        }
      }
    }
  }

  /// Fits one group of one row.
  private func fit(
    _ fitted: inout Scales, _ cell: Int, _ error: UnsafeMutablePointer<Float>, _ direction: UnsafePointer<Float>,
    _ ones: UnsafePointer<Float>, _ trial: UnsafeMutablePointer<Float>
  ) {
    let size = Int32(channels)
    let before = fitted.scales[cell]
    // What the group has to give.
    cblas_saxpy(size, before, direction, 1, error, 1)
    var best = (loss: Double.infinity, scale: before, shift: Float(0))
    let dots = (
      td: Double(cblas_sdot(size, error, 1, direction, 1)), dd: Double(cblas_sdot(size, direction, 1, direction, 1)),
      to: Double(cblas_sdot(size, error, 1, ones, 1)), od: Double(cblas_sdot(size, ones, 1, direction, 1)),
      oo: Double(cblas_sdot(size, ones, 1, ones, 1))
    )
    for shift: Float in fitted.zeros.isEmpty ? [0] : [0, -1, 1] {
      if shift != 0, !fitted.zeroRange.contains(fitted.zeros[cell] + shift) { continue }
      let s = Double(shift)
      // p = direction − shift · ones.
      let product = dots.td - s * dots.to
      let square = dots.dd - 2 * s * dots.od + s * s * dots.oo
      guard square > 0, product > 0 else { continue }
      let scale = ck_round_scale(Float(product / square), fitted.type)
      guard scale > 0, scale.isFinite else { continue }
      let loss = Double(scale) * Double(scale) * square - 2 * Double(scale) * product
      if loss < best.loss { best = (loss, scale, shift) }
    }
    fitted.scales[cell] = best.scale
    if best.shift != 0 { fitted.zeros[cell] += best.shift }
    cblas_saxpy(size, -best.scale, direction, 1, error, 1)
    if best.shift != 0 { cblas_saxpy(size, best.scale * best.shift, ones, 1, error, 1) }
  }

  /// The place of each channel.
  private var placesOfChannels: [Int] {
    var places = [Int](repeating: 0, count: channels)
    for (place, channel) in order.enumerated() { places[channel] = place }
    return places
  }
}
