internal import CKernels
internal import Checkpoints
internal import Kernels
public import Models
internal import Quantization
internal import Tensors

/// Compares the linears of one layer in two models, one by one, on the same input.
struct LinearComparison {
  /// Tokens that are looked at.
  static let tokens = 1024

  private let candidate: LanguageModel
  private let layer: Int

  init(_ candidate: LanguageModel, layer: Int) {
    self.candidate = candidate
    self.layer = layer
  }

  /// Both layers read the reference's hidden states, block by block, so that errors of earlier layers and blocks do not
  /// count, and tokens go to the same experts.
  func compare(
    _ old: DecoderLayer, _ new: DecoderLayer, _ hidden: HiddenStates, _ tables: [[RotaryTable]]
  ) throws -> [Report.Layer] {
    var result: [Report.Layer] = []
    let foldable = Set(
      candidate.layouts[layer].folds.compactMap { fold -> String? in
        if case .norm = fold.source { nil } else { fold.sourceName }
      })
    for block in old.configuration.blocks {
      // Experts come one after the other, so outputs are compared as they come and not kept beyond their pair.
      var outputs: [String: Matrix] = [:]
      let copy = HiddenStates(try hidden.read(0), hidden.chunks[0])
      try old.advance(hidden, through: block, tables: tables[0]) { name, _, output in outputs[name] = output }
      try new.advance(copy, through: block, tables: tables[1]) { name, _, output in
        guard let expected = outputs.removeValue(forKey: name), expected.rows == output.rows,
          expected.columns == output.columns
        else { return }
        let found = foldable.contains(name) ? Self.gainMatched(output, to: expected) : output
        let full = candidate.layerPrefix(layer) + name
        result.append(
          Report.Layer(
            name: full, scheme: candidate.quantization?.scheme(of: full)?.name ?? candidate.storedTypeName(full),
            bitsPerWeight: candidate.bitsPerWeight(full), sqnr: Self.sqnr(expected, found),
            cosine: Self.cosine(expected, found)))
      }
    }
    return result
  }

  /// Folding divides the outputs of some linears by channel factors and multiplies them back in the next; the factor
  /// of each channel is taken out by least squares before outputs are compared.
  static func gainMatched(_ output: Matrix, to expected: Matrix) -> Matrix {
    var products = [Double](repeating: 0, count: output.columns)
    var squares = products
    for row in 0..<output.rows {
      for column in 0..<output.columns {
        let value = Double(output[row, column])
        products[column] += value * Double(expected[row, column])
        squares[column] += value * value
      }
    }
    let gains = zip(products, squares).map { $1 > 0 ? Float($0 / $1) : 1 }
    var result = output
    for row in 0..<output.rows { for column in 0..<output.columns { result[row, column] *= gains[column] } }
    return result
  }

  /// Signal to quantization noise, in decibels; 200 stands for no noise at all.
  static func sqnr(_ expected: Matrix, _ found: Matrix) -> Double {
    let difference = zip(expected.values, found.values).map { $0 - $1 }
    let noise = ck_sum_of_squares(difference, difference.count)
    let signal = ck_sum_of_squares(expected.values, expected.values.count)
    guard noise > 0, signal > 0 else { return noise > 0 ? 0 : 200 }
    return min(200, 10 * (signal / noise).decimalLogarithm)
  }

  static func cosine(_ expected: Matrix, _ found: Matrix) -> Double {
    let product = ck_dot_double(expected.values, found.values, found.values.count)
    let norms =
      (ck_sum_of_squares(expected.values, expected.values.count)
      * ck_sum_of_squares(found.values, found.values.count)).squareRoot()
    return norms > 0 ? product / norms : 1
  }
}

extension LanguageModel {
  /// Bits that a linear's stored tensors take for each of its weights, its bias left out.
  public func bitsPerWeight(_ linear: String) -> Double {
    let bytes = storedTensors(ofLinear: linear).reduce(0) { $0 + $1.byteCount }
    let (rows, columns) = shape(ofLinear: linear)
    let share = quantization?.scheme(of: linear) == nil ? self.linear(named: linear)?.stack?.count ?? 1 : 1
    return Double(bytes * 8) / Double(rows * columns * share)
  }

  /// The element type of a linear that is not quantized.
  func storedTypeName(_ linear: String) -> String {
    checkpoint.weights.info(weightTensor(ofLinear: linear))?.dtype.rawValue ?? "?"
  }
}
