internal import Foundation
internal import Tensors

extension TensorStorage {
  /// Fresh bytes for panels, filled by the closure.
  ///
  /// Large ones begin at a 2 MiB boundary and ask for pages of that size: a product of one row reads everything once
  /// and spends half its time on finding pages of 4 KiB (measured on a virtual machine: 15.5 → 28.5 GB/s on a core).
  /// They are mapped for this purpose, because memory that was in use before keeps its small pages.
  static func panels(byteCount: Int, fill: (UnsafeMutableRawBufferPointer) -> Void) -> TensorStorage {
    #if os(Linux)
      let hugePage = 2 << 20
      let mapped = byteCount + hugePage
      guard byteCount >= hugePage,
        let region = mmap(nil, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), region != MAP_FAILED
      else { return TensorStorage(byteCount: byteCount, fill: fill) }
      let bytes = UnsafeMutableRawBufferPointer(
        start: region.alignedUp(toMultipleOf: hugePage), count: byteCount)
      // Advice: without such pages everything works as well.
      madvise(bytes.baseAddress, byteCount / hugePage * hugePage, Int32(MADV_HUGEPAGE))
      fill(bytes)
      nonisolated(unsafe) let owned = region
      return TensorStorage(owning: UnsafeRawBufferPointer(bytes), release: { munmap(owned, mapped) })
    #else
      return TensorStorage(byteCount: byteCount, fill: fill)
    #endif
  }
}
