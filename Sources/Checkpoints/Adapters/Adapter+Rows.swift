public import Tensors

extension Adapter {
  /// The rows of a linear or an embedding with the adapter in them; `nil` if it does not touch the module.
  ///
  /// For weights that are not stored as plain matrices: quantized ones are decoded, merged and multiplied a few rows at a
  /// time. Nothing is computed yet, except that DoRA on an embedding reads all of it once.
  ///
  /// - Parameters:
  ///   - rows: the base's, `[outFeatures, inFeatures]`, however they are stored.
  ///   - module: its name in the checkpoint, such as `model.layers.0.mlp.up_proj`; single experts of fused ones as well.
  public func merged(_ rows: WeightRows, module: String) throws(CheckpointError) -> WeightRows? {
    if let found = modules[ModuleName.canonical(module)], found.changesWeight {
      guard configuration.parameters(of: found.name).isEmpty else { return nil }
      let result = try merged(rows, with: found, isTransposed: false)
      guard result.outFeatures == rows.outFeatures else {
        throw refuse(found, "has \(result.outFeatures) rows, the base \(rows.outFeatures)")
      }
      return result
    }
    guard let expert = ExpertProjection(module), let found = modules[expert.experts] else { return nil }
    return try merged(rows, expert: expert, of: found)
  }

  func refuse(_ module: AdapterModule, _ problem: String) -> CheckpointError {
    .malformed(file: weightsFile, offset: nil, tensor: module.name, problem: problem)
  }

  /// The rows of a matrix as it is stored, `[outFeatures, inFeatures]` or the transpose of that.
  func merged(
    _ rows: WeightRows, with module: AdapterModule, isTransposed: Bool
  ) throws(CheckpointError) -> WeightRows {
    var base = rows
    if let whole = module.whole["weight"] {
      // An embedding, and a head with it, may have got more rows.
      let fits = whole.shape.rank == 2 && whole.shape[1] == rows.inFeatures
      guard fits, whole.shape[0] == rows.outFeatures || isVocabulary(module) else {
        throw refuse(module, "weight is \(whole.shape), the base has [\(rows.outFeatures), \(rows.inFeatures)]")
      }
      let values = WeightRows(whole)
      base = WeightRows(outFeatures: values.outFeatures, inFeatures: values.inFeatures, storedType: rows.storedType) {
        values.copyRows($0, to: $1)
      }
    }
    if module.tokenRows != nil { base = try withTokens(base, of: module) }
    guard let update = try update(of: module, base, isTransposed: isTransposed) else { return base }
    return Self.merged(base, update)
  }

  /// Rows of the base with an update in them.
  static func merged(_ base: WeightRows, _ update: LowRankUpdate) -> WeightRows {
    WeightRows(outFeatures: base.outFeatures, inFeatures: base.inFeatures, storedType: base.storedType) {
      base.copyRows($0, to: $1)
      update.apply(to: $0, $1)
    }
  }

  /// Whether a module's rows are tokens.
  func isVocabulary(_ module: AdapterModule) -> Bool {
    ["embed_tokens", "lm_head", "wte", "word_embeddings", "embed_out", "embed_in", "output"]
      .contains { ModuleName.matches(module.name, suffix: $0) }
  }

  private func update(
    of module: AdapterModule, _ base: WeightRows, isTransposed: Bool
  ) throws(CheckpointError) -> LowRankUpdate? {
    let (left, right, isAlongColumns): (Matrix, Matrix, Bool)
    let scale = try configuration.scale(of: module.name)
    if let down = module.embeddingDown, let up = module.embeddingUp {
      (left, right, isAlongColumns) = (Matrix(down).transposed(), Matrix(up).transposed(), true)
    } else if let factors = module.factors[0], let down = factors.down, let up = factors.up {
      if isTransposed {
        (left, right, isAlongColumns) = (Matrix(down).transposed(), Matrix(up).transposed(), true)
      } else {
        (left, right, isAlongColumns) = (Matrix(up), Matrix(down), false)
      }
    } else {
      return nil
    }
    guard left.rows == base.outFeatures, right.columns == base.inFeatures else {
      throw refuse(
        module,
        "its lora tensors make [\(left.rows), \(right.columns)], the base has [\(base.outFeatures), \(base.inFeatures)]"
      )
    }
    let update = LowRankUpdate(left: left.scaled(by: scale), right: right)
    guard let lengths = module.magnitude?.floats() else { return update }
    let count = isAlongColumns ? right.columns : left.rows
    guard lengths.count == count else {
      throw refuse(module, "lora_magnitude_vector has \(lengths.count) values, \(count) are expected")
    }
    if isAlongColumns { return update.withColumnLengths(lengths, of: base) }
    var result = update
    result.magnitude = .rows(lengths)
    return result
  }

  private func withTokens(_ base: WeightRows, of module: AdapterModule) throws(CheckpointError) -> WeightRows {
    guard let rows = module.tokenRows,
      let tokens = configuration.trainableTokens.first(where: { AdapterCheck.names($0, module.name) })?.tokens
    else { return base }
    guard rows.shape[1] == base.inFeatures else {
      throw refuse(module, "trainable_tokens_delta is \(rows.shape), the base has \(base.inFeatures) columns")
    }
    if let token = tokens.first(where: { $0 >= base.outFeatures }) {
      throw refuse(module, "trainable_token_indices names token \(token), the base has \(base.outFeatures) rows")
    }
    let values = Matrix(rows)
    let places = Dictionary(uniqueKeysWithValues: zip(tokens, tokens.indices))
    return WeightRows(outFeatures: base.outFeatures, inFeatures: base.inFeatures, storedType: base.storedType) {
      range, floats in
      base.copyRows(range, to: floats)
      for (place, row) in range.enumerated() {
        guard let index = places[row] else { continue }
        for column in 0..<values.columns { floats[place * values.columns + column] = values[index, column] }
      }
    }
  }
}

// MARK: Biases

extension AdapterModule {
  /// Whether the module's bias changes.
  var changesBias: Bool { whole["bias"] != nil || factors[0]?.bias != nil }
}

extension Adapter {
  func merged(bias: [Float], with module: AdapterModule) throws(CheckpointError) -> [Float] {
    var result = bias
    if let whole = module.whole["bias"] {
      guard whole.shape == [bias.count] else {
        throw refuse(module, "bias is \(whole.shape), the base has [\(bias.count)]")
      }
      result = whole.floats()
    }
    guard let added = module.factors[0]?.bias else { return result }
    guard added.shape == [bias.count] else {
      throw refuse(module, "lora_B.bias is \(added.shape), the base has [\(bias.count)]")
    }
    let scale = try configuration.scale(of: module.name)
    return zip(result, added.floats()).map { Float(Double($0) + scale * Double($1)) }
  }
}

// MARK: Matrices

extension Matrix {
  /// The matrix with rows and columns exchanged.
  func transposed() -> Matrix {
    Matrix(rows: columns, columns: rows) { target in
      for row in 0..<rows {
        for column in 0..<columns { target[column * rows + row] = self[row, column] }
      }
    }
  }

  /// Every value times a factor, rounded once.
  func scaled(by factor: Double) -> Matrix {
    Matrix(rows: rows, columns: columns, values: values.map { Float(Double($0) * factor) })
  }
}
