internal import CKernels

/// Memory that was freed, but that the C library keeps for later.
public enum FreeMemory {
  /// Gives all of it back to the system.
  ///
  /// Call it between layers. Of arrays of some megabytes the GNU C library keeps the pages; what small objects leave of
  /// them fits the next layer's arrays less and less, and a process takes more memory with each layer.
  public static func giveBack() { ck_give_back_free_memory() }
}
