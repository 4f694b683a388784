/// Memory to decode frames with, one after the other: fresh memory for each would cost more than reading the file.
final class FrameScratch: @unchecked Sendable {
  /// Used by one thread at a time, as the rest of this.
  let decoder = ZstdFrame.Decoder()
  private var input = UnsafeMutableRawBufferPointer(start: nil, count: 0)
  private var output = UnsafeMutableRawBufferPointer(start: nil, count: 0)

  deinit {
    input.deallocate()
    output.deallocate()
  }

  /// Room for a frame as it stands in the file.
  func frame(of byteCount: Int) -> UnsafeMutableRawBufferPointer { Self.part(of: &input, byteCount) }

  /// Room for what a frame holds.
  func content(of byteCount: Int) -> UnsafeMutableRawBufferPointer { Self.part(of: &output, byteCount) }

  private static func part(
    of buffer: inout UnsafeMutableRawBufferPointer, _ byteCount: Int
  ) -> UnsafeMutableRawBufferPointer {
    if buffer.count < byteCount {
      buffer.deallocate()
      // Frames of one file have about one size: half as much again, so that few ask for more.
      buffer = .allocate(byteCount: byteCount + byteCount / 2, alignment: 64)
    }
    return UnsafeMutableRawBufferPointer(rebasing: buffer[..<byteCount])
  }
}
