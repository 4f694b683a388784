internal import Kernels
public import Tensors

/// The table of token vectors.
public struct Embedding: Sendable {
  let table: Linear
  let multiplier: Float

  /// Hidden states of tokens, `[tokens, hiddenSize]`.
  public func callAsFunction(_ ids: [Int]) throws(ModelError) -> Matrix {
    let (rows, columns) = (table.outFeatures, table.inFeatures)
    var values: [Float] = []
    values.reserveCapacity(ids.count * columns)
    for id in ids {
      guard (0..<rows).contains(id) else { throw .token(id: id, vocabularySize: rows) }
      switch table.weight {
      case .dense(let tensor): values += tensor.rows(id..<id + 1).floats()
      case .matrix(let matrix): values += matrix.row(id)
      case .rows(let weight): values += weight.rows(id..<id + 1).values
      case .quantized(let packed): values += packed.dequantizedRows(id..<id + 1).values
      case .absent: values += [Float](repeating: 0, count: columns)
      }
    }
    var result = Matrix(rows: ids.count, columns: columns, values: values)
    if multiplier != 1 { result.scale(by: multiplier) }
    return result
  }
}

/// The final norm and the projection onto the vocabulary.
public struct Head: Sendable {
  let norm: Norm
  let projection: Linear
  let scale: Float
  let softcap: Float?

  /// Logits, `[tokens, vocabularySize]`, of hidden states after the last layer.
  public func callAsFunction(_ hidden: Matrix) -> Matrix {
    var logits = projection(norm(hidden))
    if scale != 1 { logits.scale(by: scale) }
    if let softcap { logits.softcap(softcap) }
    return logits
  }
}

extension LanguageModel {
  /// Logits of one text, all layers in turn: `[tokens, vocabularySize]`.
  public func logits(of ids: [Int], progress: (Int) -> Void = { _ in }) throws(ModelError) -> Matrix {
    guard ids.count <= configuration.maximumPositions else {
      throw .tooLong(length: ids.count, maximum: configuration.maximumPositions)
    }
    let hidden = HiddenStates(try embedding()(ids), Sequences(lengths: [ids.count]))
    let tables = rotaryTables(positions: ids.count)
    for index in 0..<configuration.layerCount {
      try layer(index)(hidden, tables: tables)
      progress(index)
    }
    return try head()(try hidden.read(0))
  }
}
