internal import Kernels
public import Tensors

/// A base model's tensors with an adapter merged into them: changed ones are computed when they are read, in F32, one at a
/// time; all others are the base's.
public struct AdaptedSource: WeightSource {
  /// The base's tensors.
  public let base: any WeightSource
  /// Every tensor: the base's in their order, then those that the adapter adds.
  public let tensors: [TensorInfo]
  /// Names of the tensors that differ from the base's.
  public let changedNames: Set<String>
  /// Modules of the base that are not stored as plain matrices: whoever decodes them has to merge their rows with
  /// ``Checkpoint/adapted(_:module:)``; their tensors here are the base's.
  public let deferredModules: Set<String>
  /// Whether the head, tied to the embedding in the base, has weights of its own now.
  public let breaksTie: Bool
  /// Rows of the embedding if they are more or fewer than the base's.
  public let vocabularySize: Int?
  /// What is odd but harmless, a sentence each.
  public let warnings: [String]
  private let changes: [String: TensorChange]
  private let infos: [String: TensorInfo]

  /// Finds what the adapter changes in a base.
  ///
  /// - Parameters:
  ///   - base: holds every module that the adapter has tensors for; others are refused by name.
  ///   - isTied: whether the head is the embedding; by default, whether the base has no tensor of its own for it.
  public init(_ base: any WeightSource, adapter: Adapter, isTied: Bool? = nil) throws(CheckpointError) {
    let modules = BaseModules(base)
    var resolution = AdapterResolution(
      adapter: adapter, modules: modules, isTied: isTied ?? (modules.head?.has("weight") != true))
    try resolution.resolve()
    self.base = base
    changes = resolution.changes
    deferredModules = resolution.deferred
    breaksTie = resolution.breaksTie
    vocabularySize = resolution.vocabularySize
    warnings = adapter.warnings + resolution.warnings
    let known = Set(base.tensors.map(\.name))
    let changed = changes.mapValues(\.shape)
    func info(_ name: String, _ shape: Shape) -> TensorInfo { TensorInfo(name: name, dtype: .float32, shape: shape) }
    tensors =
      base.tensors.map { old in changed[old.name].map { info(old.name, $0) } ?? old }
      + changed.filter { !known.contains($0.key) }.sorted { $0.key < $1.key }.map { info($0.key, $0.value) }
    changedNames = Set(changed.keys)
    infos = Dictionary(tensors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// What is known of one tensor, or `nil`; a changed one is F32.
  public func info(_ name: String) -> TensorInfo? { infos[name] }

  /// A tensor of the base, or one merged for this call.
  public func tensor(_ name: String) throws(CheckpointError) -> Tensor {
    guard let change = changes[name] else { return try base.tensor(name) }
    let tensor = try change.merged(try base.tensor(change.source))
    if let index = tensor.firstNonFinite {
      throw .malformed(
        file: change.file, offset: nil, tensor: name, problem: "element \(index) is NaN or infinite after merging")
    }
    return tensor
  }

  /// Gives the memory of the base's mapped bytes back.
  public func discardPages() { base.discardPages() }

  /// The type in which the base stores a tensor, or what a new tensor is derived from.
  public func storedType(_ name: String) -> DType? {
    base.info(name)?.dtype ?? changes[name].flatMap { base.info($0.source)?.dtype }
  }
}

/// How one tensor comes out of one of the base.
struct TensorChange: Sendable {
  /// The base's tensor.
  let source: String
  /// The result's extents.
  let shape: Shape
  /// The adapter's weights, for messages.
  let file: String
  /// Matrices of the result, one after another; each as a function of the base's tensor.
  let merged: @Sendable (Tensor) throws(CheckpointError) -> Tensor
}

extension TensorChange {
  /// Computes all rows of some matrices, which make up a tensor.
  static func collect(_ parts: [WeightRows], as shape: Shape) -> Tensor {
    Tensor(.float32, shape) { bytes in
      let floats = bytes.bindMemory(to: Float.self)
      var begin = 0
      for part in parts {
        let count = part.outFeatures * part.inFeatures
        nonisolated(unsafe) let target = UnsafeMutableBufferPointer(rebasing: floats[begin..<begin + count])
        Parallel.forEachRange(of: part.outFeatures, size: 64) { range in
          part.copyRows(
            range,
            to: UnsafeMutableBufferPointer(
              rebasing: target[range.lowerBound * part.inFeatures..<range.upperBound * part.inFeatures]))
        }
        begin += count
      }
    }
  }
}
