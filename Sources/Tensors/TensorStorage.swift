/// Bytes that are never written after they came to be, shared by any number of tensors.
public final class TensorStorage: Sendable {
  /// The bytes; valid as long as the storage lives.
  public nonisolated(unsafe) let bytes: UnsafeRawBufferPointer
  private let release: @Sendable () -> Void

  /// Takes over bytes that `release` gives back; nobody may write them from now on.
  public init(owning bytes: UnsafeRawBufferPointer, release: @escaping @Sendable () -> Void) {
    self.bytes = bytes
    self.release = release
  }

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
  }

  deinit { release() }
}
