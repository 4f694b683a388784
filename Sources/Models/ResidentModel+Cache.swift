internal import Checkpoints
internal import Kernels
internal import Tensors

extension ResidentModel {
  /// Writes what loading has made of an artifact into a folder, for ``LanguageModel/use(_:)``.
  ///
  /// - Parameters:
  ///   - model: what this one was loaded from.
  ///   - artifact: the artifact's digest.
  /// - Returns: the file's path; `nil` when another process is writing it.
  public func writeCache(in folder: String, of model: LanguageModel, artifact: String) throws(ModelError) -> String? {
    var linears = [embedding.table] + (configuration.tiesEmbeddings ? [] : [head.projection])
    for layer in layers {
      for linear in layer.layout.linears { linears.append(try layer.linear(linear.name)) }
    }
    var matrices: [(name: String, matrix: PackedMatrix)] = []
    var packed: Set<String> = []
    for linear in linears {
      guard case .quantized(let matrix) = linear.weight else { continue }
      matrices.append((linear.name, matrix))
      packed.formUnion(model.storedTensors(ofLinear: linear.name).map(\.name))
    }
    // Image towers and layers that predict further tokens are not loaded.
    let tensors = model.checkpoint.weights.tensors.map(\.name).filter { name in
      guard !packed.contains(name), name.hasPrefix(model.names.base) || name.hasPrefix(model.names.head + ".") else {
        return false
      }
      return model.names.place(name).map { $0.layer < layers.count } ?? true
    }
    do throws(CheckpointError) {
      return try WeightCache.write(
        in: folder, artifact: artifact, matrices: matrices, tensors: tensors, of: model.checkpoint.weights)
    } catch { throw .checkpoint(error) }
  }
}
