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

  /// Which errors a scale is fitted to.
  package enum Reach: Sendable {
    /// Those of its own group: as if other groups had none.
    case channelsOfGroup
    /// Those of the whole row.
    case allChannels
  }

  /// Fits scales and zero points to codes by least squares, one group after another, on the calling thread.
  ///
  /// With e the row's error and p = c − z the group's codes less their zero point, 0 outside the group, the group's best
  /// scale is (e + s·p)·H′·pᵀ / (p·H′·pᵀ); each is rounded to its stored type before the next group is fitted. Zero
  /// points move by one at most.
  ///
  /// - Parameters:
  ///   - weights: `[rows, channels]`.
  ///   - numbers: what the codes stand for before zero points and scales, `[rows, channels]`.
  ///   - width: channels of a group.
  ///   - deviations: √H_jj of each channel, after folding.
  ///   - reach: which errors count.
  ///   - rounded: the moments of other groups' channels where they may be rounded; of the same `width`.
  package func refit(
    _ fitted: inout Scales, _ weights: UnsafePointer<Float>, numbers: UnsafePointer<Float>, rows: Int, width: Int,
    deviations: [Float], among reach: Reach, _ rounded: RoundedMoments? = nil
  ) {
    MatrixProduct.singleThreaded
    guard rows > 0 else { return }
    let groups = (channels + width - 1) / width
    // Folding divides the inputs; the moments are those of before.
    let folded = zip(deviations, self.deviations).map { $1 > 0 ? $0 / $1 : 0 }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: rows * (channels + 3 * width) + 2 * width) { room in
      guard let error = room.baseAddress else { return }
      let numbered = error + rows * channels
      let pulls = numbered + rows * width
      let weighed = pulls + rows * width
      let ones = weighed + rows * width
      let weighedOnes = ones + width
      for row in 0..<rows {
        for channel in 0..<channels {
          let (index, cell) = (row * channels + channel, row * groups + channel / width)
          let zero = fitted.zeros.isEmpty ? 0 : fitted.zeros[cell]
          error[index] = (weights[index] - (numbers[index] - zero) * fitted.scales[cell]) * folded[channel]
        }
      }
      let others: Others =
        switch (reach, rounded) {
        case (.channelsOfGroup, _): .none
        case (.allChannels, nil): .floats
        case (.allChannels, let rounded?): .rounded(RoundedMoments.Errors(rounded, error, rows: rows))
        }
      for group in 0..<groups {
        let columns = group * width..<min(channels, (group + 1) * width)
        let count = columns.count
        for row in 0..<rows {
          let zero = fitted.zeros.isEmpty ? 0 : fitted.zeros[row * groups + group]
          for (index, column) in columns.enumerated() {
            numbered[row * count + index] = (numbers[row * channels + column] - zero) * folded[column]
          }
        }
        for (index, column) in columns.enumerated() { ones[index] = folded[column] }
        multiplyOwn(error, rows, columns, into: pulls)
        switch others {
        case .none: break
        case .floats: addOthers(error, rows, columns, to: pulls)
        case .rounded(let errors):
          errors.addProduct(
            error, columns, after: max(0, columns.lowerBound - width)..<columns.lowerBound, times: momentFactor,
            to: pulls)
        }
        multiplyWithin(numbered, rows, columns, into: weighed)
        multiplyWithin(ones, 1, columns, into: weighedOnes)
        for row in 0..<rows {
          let start = row * count
          let part = Group(
            count: count, error: error + row * channels + columns.lowerBound, pull: pulls + start,
            numbers: numbered + start, weighed: weighed + start, ones: ones, weighedOnes: weighedOnes)
          fit(&fitted, row * groups + group, part)
        }
      }
    }
  }

  /// One group of one row, channels divided as folding divides them.
  private struct Group {
    let count: Int
    /// e.
    let error: UnsafeMutablePointer<Float>
    /// e·H′ in the group's channels.
    let pull: UnsafePointer<Float>
    /// p, and p·H′ in the group's channels.
    let numbers, weighed: UnsafePointer<Float>
    /// What a zero point that is greater by one takes from p, and that times H′.
    let ones, weighedOnes: UnsafePointer<Float>

    func dot(_ one: UnsafePointer<Float>, _ other: UnsafePointer<Float>) -> Double {
      Double(cblas_sdot(Int32(count), one, 1, other, 1))
    }
  }

  private func fit(_ fitted: inout Scales, _ cell: Int, _ group: Group) {
    let before = fitted.scales[cell]
    let dd = group.dot(group.numbers, group.weighed)
    let od = group.dot(group.ones, group.weighed)
    let oo = group.dot(group.ones, group.weighedOnes)
    // What the group has to give, e + s·p, against p and against a shift.
    let td = group.dot(group.pull, group.numbers) + Double(before) * dd
    let to = group.dot(group.pull, group.ones) + Double(before) * od
    var best = (loss: Double.infinity, scale: before, shift: Float(0))
    for shift: Float in fitted.zeros.isEmpty ? [0] : [0, -1, 1] {
      if shift != 0, !fitted.zeroRange.contains(fitted.zeros[cell] + shift) { continue }
      let s = Double(shift)
      let product = td - s * to
      let square = dd - 2 * s * od + s * s * oo
      guard square > 0, product > 0 else { continue }
      let scale = ck_round_scale(Float(product / square), fitted.type)
      guard scale > 0, scale.isFinite else { continue }
      let loss = Double(scale) * Double(scale) * square - 2 * Double(scale) * product
      if loss < best.loss { best = (loss, scale, shift) }
    }
    fitted.scales[cell] = best.scale
    if best.shift != 0 { fitted.zeros[cell] += best.shift }
    let size = Int32(group.count)
    cblas_saxpy(size, before - best.scale, group.numbers, 1, group.error, 1)
    if best.shift != 0 { cblas_saxpy(size, best.scale * best.shift, group.ones, 1, group.error, 1) }
  }

  /// What a group is told of the errors of other groups.
  private enum Others: ~Copyable {
    case none
    case floats
    case rounded(RoundedMoments.Errors)
  }

  /// What sums of x·xᵀ between different channels are multiplied with.
  private var momentFactor: Float { moments.map { (1 - $0.shrinkage) * $0.scale } ?? 0 }

  /// Some columns of x·H′, for x of `[rows, channels]` where other columns are 0.
  private func multiplyOwn(
    _ x: UnsafePointer<Float>, _ rows: Int, _ columns: Range<Int>, into result: UnsafeMutablePointer<Float>
  ) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: rows * columns.count) { room in
      guard let own = room.baseAddress else { return }
      for row in 0..<rows {
        (own + row * columns.count).update(from: x + row * channels + columns.lowerBound, count: columns.count)
      }
      multiplyWithin(own, rows, columns, into: result)
    }
  }

  /// Adds some columns of x·H′, for x of `[rows, channels]` where these columns are 0.
  private func addOthers(
    _ x: UnsafePointer<Float>, _ rows: Int, _ columns: Range<Int>, to result: UnsafeMutablePointer<Float>
  ) {
    guard let moments else { return }
    let (size, count) = (Int32(channels), Int32(columns.count))
    moments.sums.withUnsafeBufferPointer { buffer in
      guard let sums = buffer.baseAddress else { return }
      let before = columns.lowerBound
      if before > 0 {
        cblas_sgemm(
          CblasRowMajor, CblasNoTrans, CblasTrans, Int32(rows), count, Int32(before), momentFactor, x, size,
          sums + before * channels, size, 1, result, count)
      }
      let behind = columns.upperBound
      if behind < channels {
        cblas_sgemm(
          CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(rows), count, Int32(channels - behind), momentFactor,
          x + behind, size, sums + behind * channels + before, size, 1, result, count)
      }
    }
  }

  /// x·H′ where both keep to some columns, for x of `[rows, columns.count]`.
  private func multiplyWithin(
    _ x: UnsafePointer<Float>, _ rows: Int, _ columns: Range<Int>, into result: UnsafeMutablePointer<Float>
  ) {
    let count = columns.count
    if let moments {
      moments.sums.withUnsafeBufferPointer { buffer in
        guard let sums = buffer.baseAddress else { return }
        cblas_ssymm(
          CblasRowMajor, CblasRight, CblasLower, Int32(rows), Int32(count), (1 - moments.shrinkage) * moments.scale,
          sums + columns.lowerBound * (channels + 1), Int32(channels), x, Int32(count), 0, result, Int32(count))
      }
    } else {
      result.update(repeating: 0, count: rows * count)
    }
    let own = moments?.shrinkage ?? 1
    for (index, column) in columns.enumerated() {
      let square = own * deviations[column] * deviations[column]
      for row in 0..<rows { result[row * count + index] += square * x[row * count + index] }
    }
  }
}
