internal import Foundation
internal import Tensors

/// Fresh memory for the codes, scales and zero points of one weight.
///
/// Large memory begins at a 2 MiB boundary and asks for pages of that size: a product of one row reads everything once
/// and spends half its time on finding pages of 4 KiB (measured on a virtual machine: 15.5 → 28.5 GB/s on a core). A last
/// page of that size that is not filled is asked for where no more than an eighth is wasted. The memory is mapped for
/// this purpose, because memory that was in use before keeps its small pages.
struct PanelMemory: Sendable {
  nonisolated(unsafe) let base: UnsafeMutableRawPointer
  private let release: @Sendable () -> Void

  /// Room for `capacity` bytes, of which about `expected` will be used; the others cost nothing.
  init(capacity: Int, expected: Int) {
    #if os(Linux)
      let hugePage = 2 << 20
      let mapped = capacity + 2 * hugePage
      if expected >= hugePage,
        let region = mmap(nil, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), region != MAP_FAILED
      {
        base = region.alignedUp(toMultipleOf: hugePage)
        let wasted = (hugePage - expected % hugePage) % hugePage
        let advised = wasted <= expected / 8 ? expected + wasted : expected / hugePage * hugePage
        // Advice: without such pages everything works as well.
        madvise(base, advised, Int32(MADV_HUGEPAGE))
        nonisolated(unsafe) let owned = region
        release = { munmap(owned, mapped) }
        return
      }
    #endif
    let memory = UnsafeMutableRawPointer.allocate(byteCount: max(1, capacity), alignment: 64)
    base = memory
    nonisolated(unsafe) let owned = memory
    release = { owned.deallocate() }
  }

  /// The first bytes, which are not written any more; takes the memory over.
  func storage(byteCount: Int) -> TensorStorage {
    TensorStorage(owning: UnsafeRawBufferPointer(start: base, count: byteCount), release: release)
  }
}
