internal import CKernels
internal import Tensors

/// Second moments rounded to BF16 as fitting scales reads them: for each group of channels, its lines.
///
/// Two to two and a half times as fast as float32 where the processor has instructions for it. What a group's own
/// channels do together is not taken from here, so that no scale depends on how its own square was rounded.
package struct RoundedMoments: Sendable {
  private let product: Bfloat16Product
  private let channels: Int
  private let width: Int
  private let groupCount: Int
  private let packed: TensorStorage

  /// Rounds the moments of a factor, on all threads.
  ///
  /// - Parameters:
  ///   - width: channels of a group.
  ///   - rows: how many rows of weights will be fitted.
  /// - Returns: `nil` where float32 is as good: this processor multiplies BF16 no faster, there are few rows, nothing is known
  ///   of how channels go together, there is one group, or groups are no whole tiles of the product.
  package init?(_ factor: MomentFactor, width: Int, rows: Int) {
    guard let moments = factor.moments, let product = MatrixProduct.bfloat16(.bfloat16, rows: rows),
      width < factor.channels, width.isMultiple(of: product.tileRows)
    else { return nil }
    let channels = factor.channels
    let groupCount = product.packedCount(rows: width, features: channels)
    self.product = product
    self.channels = channels
    self.width = width
    self.groupCount = groupCount
    let groups = (channels + width - 1) / width
    packed = TensorStorage(byteCount: groups * groupCount * MemoryLayout<UInt16>.size) { bytes in
      guard let target = SharedPointer(bytes.assumingMemoryBound(to: UInt16.self)) else { return }
      Parallel.forEach(groups) { group in
        let lines = group * width..<min(channels, (group + 1) * width)
        withUnsafeTemporaryAllocation(of: Float.self, capacity: lines.count * channels) { room in
          guard let floats = room.baseAddress else { return }
          moments.copyLines(lines, channels: channels, to: floats)
          product.packRows(floats, stride: channels, lines.count, channels, to: target.base + group * groupCount)
        }
      }
    }
  }

  /// The errors of a tile of rows, of which the columns of the group in hand are left out.
  struct Errors: ~Copyable {
    private let moments: RoundedMoments
    private let rows: Int
    private let packed: UnsafeMutablePointer<UInt16>
    private let block: UnsafeMutablePointer<Float>
    private let sums: UnsafeMutablePointer<Float>

    /// Rounds errors `[rows, channels]`.
    init(_ moments: RoundedMoments, _ errors: UnsafePointer<Float>, rows: Int) {
      self.moments = moments
      self.rows = rows
      packed = Bfloat16Product.allocate(moments.product.packedCount(tokens: rows, features: moments.channels))
      block = .allocate(capacity: rows * Int(ck_bf16_block))
      sums = .allocate(capacity: rows * moments.width)
      for start in stride(from: 0, to: moments.channels, by: Int(ck_bf16_block)) {
        pack(errors, from: start, without: 0..<0)
      }
    }

    deinit {
      packed.deallocate()
      block.deallocate()
      sums.deallocate()
    }

    /// Adds factor · e·H to `[rows, columns.count]`, e without the group's columns.
    ///
    /// - Parameters:
    ///   - errors: as they are now; since the last call, none but those of the last call's group have changed.
    ///   - last: the columns of the last call's group.
    func addProduct(
      _ errors: UnsafePointer<Float>, _ columns: Range<Int>, after last: Range<Int>, times factor: Float,
      to result: UnsafeMutablePointer<Float>
    ) {
      let size = Int(ck_bf16_block)
      // Of the last group's blocks those that the group in hand is not in, then its own.
      let (old, new) = (Self.blocks(last, size), Self.blocks(columns, size))
      for index in old where !new.contains(index) { pack(errors, from: index * size, without: columns) }
      for index in new { pack(errors, from: index * size, without: columns) }
      guard let lines = moments.packed.bytes.assumingMemoryBound(to: UInt16.self).baseAddress else { return }
      moments.product.multiply(
        lines + columns.lowerBound / moments.width * moments.groupCount, rows: columns.count, packed, tokens: rows,
        features: moments.channels, to: sums, stride: columns.count, adds: false)
      for index in 0..<rows * columns.count { result[index] += factor * sums[index] }
    }

    private static func blocks(_ columns: Range<Int>, _ size: Int) -> Range<Int> {
      columns.lowerBound / size..<(columns.upperBound + size - 1) / size
    }

    private func pack(_ errors: UnsafePointer<Float>, from start: Int, without columns: Range<Int>) {
      let range = start..<min(moments.channels, start + Int(ck_bf16_block))
      let hole = columns.clamped(to: range)
      for row in 0..<rows {
        let target = block + row * range.count
        target.update(from: errors + row * moments.channels + start, count: range.count)
        if !hole.isEmpty { (target + hole.lowerBound - start).update(repeating: 0, count: hole.count) }
      }
      let before = moments.product.packedCount(tokens: rows, features: start)
      moments.product.packTokens(block, stride: range.count, rows, range.count, to: packed + before)
    }
  }
}

extension MomentFactor.Moments {
  /// Some lines of the sums, both halves: `[lines, channels]`.
  fileprivate func copyLines(_ lines: Range<Int>, channels: Int, to target: UnsafeMutablePointer<Float>) {
    sums.withUnsafeBufferPointer { sums in
      guard let sums = sums.baseAddress else { return }
      for (index, line) in lines.enumerated() {
        (target + index * channels).update(from: sums + line * channels, count: line + 1)
      }
      for other in lines.lowerBound..<channels {
        let source = sums + other * channels
        for (index, line) in lines.enumerated() where line < other { target[index * channels + other] = source[line] }
      }
    }
  }
}
