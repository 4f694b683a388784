import Checkpoints
import Quantization
import StrictJSON
import Tensors
import TestSupport
import Testing

/// What `formats/entropy-coded.md` says is refused.
@Suite struct EntropyCodedRefusalTests {
  /// A linear of 5 × 4 with one further column used and two not.
  private static let good: StoredLinear = {
    var integers = (0..<20).map { Int32($0) - 9 }
    integers[2] = 300
    let weight = QuantizedTensor(
      integers: integers, outFeatures: 5, inFeatures: 4, rowGains: [190, 191, 192, 193, 194],
      columnGains: [100, 101, 102, 103], bits: 8)
    return EntropyCodedLinears.stored(weight, splitColumns: 3)
  }()

  private static func sources(_ values: [Int32]) -> Tensor {
    Tensor(.int32, [values.count]) { bytes in values.withUnsafeBytes { bytes.copyMemory(from: $0) } }
  }

  private static func refusal(_ part: String, _ problem: String) -> CheckpointError {
    .malformed(file: "f", offset: nil, tensor: "m" + part, problem: problem)
  }

  @Test func `a missing partner is named`() throws {
    #expect(try Self.good.weight().codes != nil)
    for part in ["codes", "column_class", "row_gain", "column_gain"] {
      let error = #expect(throws: CheckpointError.self) { try Self.good.with(".weight_" + part, nil).weight() }
      #expect(error.map { "\($0)".contains("m.weight_" + part) } ?? false)
    }
    // Without sources there are too many columns.
    #expect(
      throws: Self.refusal(".weight_column_class", "expected U8 [4], found U8 [7]")
    ) { try Self.good.with(".weight_split_source", nil).weight() }
  }

  @Test(arguments: ["codes", "column_class", "row_gain", "column_gain", "split_source"])
  func `another shape or type of any part is refused with both`(part: String) throws {
    let tensor = try #require(Self.good[".weight_" + part])
    for (type, shape) in [
      (tensor.dtype, Shape(tensor.shape.extents.map { $0 + 1 })), (tensor.dtype, Shape(tensor.shape.extents + [1])),
      (.uint16, tensor.shape),
    ] {
      let other = Tensor(type, shape, bytes: [UInt8](repeating: 0, count: shape.byteCount(of: type) ?? 0))
      let error = #expect(throws: CheckpointError.self) { try Self.good.with(".weight_" + part, other).weight() }
      // A wrong number of sources shows in the columns that they belong to.
      let shown =
        part == "split_source" && type == .int32 && shape.rank == 1 ? "found U8 [7]" : "found \(type.rawValue)"
      #expect(error.map { "\($0)".contains(shown) } ?? false, "\(type) \(shape)")
    }
  }

  @Test func `sources that cannot be are refused`() {
    for (sources, problem) in [
      ([2, 4, -1], "names input feature 4, there are 4"), ([-2, -1, -1], "names input feature -2, there are 4"),
      ([-1, 2, -1], "has a used column after unused ones"),
    ] as [([Int32], String)] {
      #expect(throws: Self.refusal(".weight_split_source", problem)) {
        try Self.good.with(".weight_split_source", Self.sources(sources)).weight()
      }
    }
    var integers = [Int32](repeating: 1, count: 4)
    integers[0] = .max
    let weight = QuantizedTensor(
      integers: integers, outFeatures: 2, inFeatures: 2, rowGains: [1, 2], columnGains: [3, 4], bits: 8)
    var linear = EntropyCodedLinears.stored(weight, splitColumns: 5)
    linear[".weight_split_source"] = Self.sources([0, 0, 0, 0, 0])
    #expect(throws: Self.refusal(".weight_split_source", "splits input feature 0 into more than 5 digits")) {
      try linear.weight()
    }
  }

  @Test func `two kinds of weights are refused`() {
    for part in [".weight", ".weight_packed", ".weight_scale"] {
      let other = Tensor(.bfloat16, [5, 4], bytes: [UInt8](repeating: 0, count: 40))
      #expect(
        throws: Self.refusal(part, "is there beside m.weight_codes; which of them counts is unclear")
      ) { try Self.good.with(part, other).weight() }
    }
  }

  @Test func `declarations that are not read are refused by name`() {
    for (linear, text) in [
      (Self.good.setting("version", nil), "version is missing"),
      (Self.good.setting("version", 2), "version 2 is not read, 1 is; use a newer quantize"),
      (Self.good.setting("version", "1"), "version is \"1\", expected a whole number"),
      (Self.good.setting("rotation", "hadamard"), "rotation is not known; it may change what the weights mean"),
      (Self.good.setting("ignore", ["re:("]), "the pattern \"re:(\" is not a regular expression"),
      (Self.good.setting("ignore", "m"), "ignore is not a list of names"),
      (
        Self.good.setting("ignore", ["m"]),
        "is a quantized linear's, but the configuration does not quantize this module"
      ),
      (Self.good.setting("compressed_tensors", 1), "compressed_tensors is a number, expected an object"),
    ] {
      let error = #expect(throws: CheckpointError.self) { try linear.weight() }
      #expect(error.map { "\($0)".contains(text) } ?? false, "\(text), not \(String(describing: error))")
    }
    var other = Self.good
    other.configuration = ["quant_method": "quantize-ec", "version": 1, "compressed_tensors": ["quant_method": "awq"]]
    #expect(throws: CheckpointError.self) { try other.weight() }
  }

  @Test func `a shape that the model does not have is refused`() {
    var turned = Self.good
    turned.shape = [4, 5]
    #expect(throws: Self.refusal(".weight_row_gain", "expected U8 [4], found U8 [5]")) { try turned.weight() }
  }
}
