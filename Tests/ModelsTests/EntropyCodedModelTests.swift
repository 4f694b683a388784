import Checkpoints
import Models
import Quantization
import StrictJSON
import Tensors
import TestSupport
import Testing

/// A model whose linears and embedding are entropy-coded.
@Suite struct EntropyCodedModelTests {
  /// Weights as integers: steps of a 300th of the largest weight of a row times a factor of the column.
  private static func rounded(_ weight: Matrix, bits: Int) -> QuantizedTensor {
    let (rows, columns) = (weight.rows, weight.columns)
    let columnGains = (0..<columns).map { UInt8(120 + $0 * 7 % 16) }
    var integers: [Int32] = []
    var rowGains: [UInt8] = []
    for row in 0..<rows {
      let line = weight.row(row)
      let largest = line.map(abs).max() ?? 0
      rowGains.append(GainGrid.rows.code(nearest: largest / (bits == 8 ? 300 : 20)))
      let gain = GainGrid.rows.values[Int(rowGains[row])]
      for (column, value) in line.enumerated() {
        integers.append(Int32((value / (gain * GainGrid.columns.values[Int(columnGains[column])])).rounded()))
      }
    }
    return QuantizedTensor(
      integers: integers, outFeatures: rows, inFeatures: columns, rowGains: rowGains, columnGains: columnGains,
      bits: bits)
  }

  @Test(arguments: [8, 4], [true, false])
  func `the model computes with the weights that its codes stand for`(bits: Int, isTied: Bool) throws {
    var tiny = TinyModel(modelType: "qwen2")
    tiny.tiesEmbeddings = isTied
    let drawn = tiny.drawnTensors()
    let folder = try TestFolder()
    try tiny.write(to: folder("coded"))
    try tiny.write(to: folder("floats"))
    var coded: [(name: String, tensor: Tensor)] = []
    var floats = coded
    for (name, tensor) in drawn {
      guard tensor.shape.rank == 2 else {
        coded.append((name, tensor))
        floats.append((name, tensor))
        continue
      }
      let matrix = Matrix(rows: tensor.shape[0], columns: tensor.shape[1], values: tensor.floats())
      let weight = Self.rounded(matrix, bits: bits)
      let splits = weight.splitColumns
      #expect(splits > 0)
      coded += EntropyCodedLayout.encode(
        weight, linear: String(name.dropLast(".weight".count)), splitColumns: splits + 2)
      floats.append((name, Tensor(tensor.shape, floats: weight.dequantized().values, as: .float32)))
    }
    try TinyModel.write(coded, to: folder("coded/model.safetensors"))
    try TinyModel.write(floats, to: folder("floats/model.safetensors"))
    var configuration = tiny.configurationObject
    configuration["quantization_config"] = EntropyCodedConfiguration(ignore: []).json()
    try folder.write("coded/config.json", JSONValue.object(configuration).compactText)

    let (one, other) = (
      try LanguageModel(Checkpoint(folder("coded"))), try LanguageModel(Checkpoint(folder("floats")))
    )
    #expect(one.quantization?.scheme(of: "model.layers.1.mlp.down_proj")?.name == "EC")
    #expect(one.quantization?.scheme(of: "model.embed_tokens")?.name == "EC")
    guard case .quantized = try one.linear("model.layers.0.mlp.up_proj").weight else {
      Issue.record("the codes were expanded")
      return
    }
    #expect(try one.embedding()([3, 250, 3]) == other.embedding()([3, 250, 3]))
    for count in [1, 3, 20] {
      let ids = (0..<count).map { ($0 * 37 + 5) % 250 }
      let (found, expected) = (try one.logits(of: ids), try other.logits(of: ids))
      #expect(Deviation.relative(found.values, expected.values) < 5e-5)
    }
  }
}
