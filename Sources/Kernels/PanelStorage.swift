internal import Synchronization
internal import Tensors

extension TensorStorage {
  /// What small panels share: memory in large pages, and how much of it is used.
  private struct Slab {
    let memory: LargePages
    var used = 0
  }

  private static let slabSize = 64 << 20
  private static let slab = Mutex<Slab?>(nil)

  /// Fresh bytes for panels, aligned to 64 and filled with zeros until the closure fills them, in large pages.
  ///
  /// Codes, scales and zero points that are read together lie together; a part of a page at the end of each would cost as
  /// much as the rest. Memory goes back to the system when the last of its users has gone.
  static func panels(byteCount: Int, fill: (UnsafeMutableRawBufferPointer) -> Void) -> TensorStorage {
    guard let (memory, start) = place(byteCount) else {
      return TensorStorage(byteCount: byteCount) { bytes in
        bytes.initializeMemory(as: UInt8.self, repeating: 0)
        fill(bytes)
      }
    }
    let bytes = UnsafeMutableRawBufferPointer(rebasing: memory.bytes[start..<start + byteCount])
    fill(bytes)
    return TensorStorage(owning: UnsafeRawBufferPointer(bytes), release: { withExtendedLifetime(memory) {} })
  }

  private static func place(_ byteCount: Int) -> (LargePages, Int)? {
    if byteCount > slabSize / 4 { return LargePages(byteCount: byteCount).map { ($0, 0) } }
    return slab.withLock { slab in
      if slab.map({ $0.used + byteCount > slabSize }) ?? true {
        slab = LargePages(byteCount: slabSize).map { Slab(memory: $0) }
      }
      guard let start = slab?.used, let memory = slab?.memory else { return nil }
      slab?.used = (start + byteCount + 63) / 64 * 64
      return (memory, start)
    }
  }
}
