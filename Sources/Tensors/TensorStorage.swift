/// Bytes that are never written after they came to be, shared by any number of tensors.
public final class TensorStorage: Sendable {
  /// The bytes; valid as long as the storage lives.
  public nonisolated(unsafe) let bytes: UnsafeRawBufferPointer
  private let release: @Sendable () -> Void
  private let discard: (@Sendable () -> Void)?

  /// Takes over bytes that `release` gives back; nobody may write them from now on.
  ///
  /// - Parameter discard: gives back memory that can be had again, such as the pages of a mapped file.
  public init(
    owning bytes: UnsafeRawBufferPointer, release: @escaping @Sendable () -> Void,
    discard: (@Sendable () -> Void)? = nil
  ) {
    self.bytes = bytes
    self.release = release
    self.discard = discard
  }

  /// Some of the bytes, which keep all of them.
  public func part(_ range: Range<Int>) -> TensorStorage {
    TensorStorage(
      owning: UnsafeRawBufferPointer(rebasing: bytes[range]), release: { withExtendedLifetime(self) {} })
  }

  /// Gives back the memory of a mapped file's pages; they are read again when touched.
  public func discardPages() { discard?() }

  /// Fresh bytes, aligned to 64, filled by the closure.
  public init(byteCount: Int, fill: (UnsafeMutableRawBufferPointer) throws -> Void) rethrows {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 64)
    do { try fill(buffer) } catch {
      buffer.deallocate()
      throw error
    }
    bytes = UnsafeRawBufferPointer(buffer)
    nonisolated(unsafe) let owned = buffer
    release = { owned.deallocate() }
    discard = nil
  }

  deinit { release() }
}
