internal import Kernels
internal import Synchronization
internal import Tensors

/// The codes of one linear that go from the file into panels part by part, as frames are decoded: nothing is written
/// twice, and a code is never a byte of its own.
struct CodeStream: Sendable {
  let source: any WeightSource
  /// The tensor.
  let name: String
  /// For messages.
  let file: String
  /// Is XORed to every word of 32 bits to give the kernels' codes.
  let flip: UInt32

  /// Reads and packs everything; a float8 code that is NaN is refused.
  func packed(
    _ kind: PackedMatrix.Kind, outFeatures: Int, inFeatures: Int, groupSize: Int, hasZeroPoints: Bool,
    groups: PackedMatrix.GroupReader
  ) throws(CheckpointError) -> PackedMatrix {
    try PackedMatrix(
      kind, outFeatures: outFeatures, inFeatures: inFeatures, groupSize: groupSize, hasZeroPoints: hasZeroPoints,
      flip: flip, groups: groups
    ) { writer throws(CheckpointError) in
      let isNaN = Atomic<Bool>(false)
      try source.forEachPart(of: name) { offset, bytes in
        if kind == .float8E4M3, PackedMatrix.hasNaN(bytes) { isNaN.store(true, ordering: .relaxed) }
        writer.write(bytes, at: offset / 4)
      }
      if isNaN.load(ordering: .relaxed) {
        throw .malformed(file: file, offset: nil, tensor: name, problem: "a float8 code is NaN")
      }
    }
  }
}
