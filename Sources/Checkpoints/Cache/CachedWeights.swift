internal import Tensors

/// Tensors of an artifact, those that a cache has from there.
struct CachedWeights: WeightSource {
  let artifact: any WeightSource
  let cache: WeightCache

  var tensors: [TensorInfo] { artifact.tensors }

  func info(_ name: String) -> TensorInfo? { artifact.info(name) }

  func tensor(_ name: String) throws(CheckpointError) -> Tensor {
    if let kept = try cache.tensor(name) { return kept }
    return try artifact.tensor(name)
  }
}

extension Checkpoint {
  /// The same files, what a cache has from there.
  ///
  /// - Throws: where the cache's tensors are not the files'.
  public func cached(by cache: WeightCache) throws(CheckpointError) -> Checkpoint {
    for info in cache.tensors where weights.info(info.name) != info {
      throw .malformed(file: cache.path, offset: nil, tensor: info.name, problem: "\(name) has no such tensor")
    }
    return Checkpoint(self, weights: CachedWeights(artifact: weights, cache: cache), cache: cache)
  }
}
