import Checkpoints
import Foundation
import Models
import StrictJSON
import Tensors
import Testing

/// What other programs saw in artifacts of ours; `Vectors/make_interop.py` made the files and names the versions.
@Suite struct InteropTests {
  /// Rounding of float32 sums; the same weights, another program.
  private static let logitTolerance: Float = 1e-4

  private let folder: URL

  init() throws {
    folder = try #require(Bundle.module.resourceURL).appending(path: "Vectors")
  }

  private func json(_ name: String) throws -> JSONValue {
    try JSONValue(parsing: try Data(contentsOf: folder.appending(path: name)))
  }

  @Test(arguments: ["w4a16_asym", "fp8_dynamic", "nvfp4a16", "mxfp4a16"])
  func `transformers with compressed-tensors computes the same logits`(_ name: String) throws {
    let model = try LanguageModel(try Checkpoint(folder.appending(path: name + ".tar.zst").path))
    let ids = try #require(try json("tokens.json").arrayValue).compactMap(\.intValue)
    let ours = try model.logits(of: ids).values
    let file = try SafetensorsFile(path: folder.appending(path: name + ".logits.safetensors").path)
    let theirs = try file.tensor("logits").floats()
    #expect(ours.count == theirs.count)
    let mean = theirs.reduce(0, +) / Float(theirs.count)
    let deviation = (theirs.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Float(theirs.count)).squareRoot()
    let worst = zip(ours, theirs).map { abs($0 - $1) }.max() ?? .infinity
    #expect(worst <= Self.logitTolerance * deviation, "\(worst / deviation) standard deviations")
  }

  @Test func `the library rounds activations as we do`() throws {
    var model = try LanguageModel(try Checkpoint(folder.appending(path: "fp8_dynamic.tar.zst").path))
    model.rounding = .all
    let ids = try #require(try json("tokens.json").arrayValue).compactMap(\.intValue)
    let ours = try model.logits(of: ids).values
    func theirs(_ name: String) throws -> [Float] {
      try SafetensorsFile(path: folder.appending(path: name + ".logits.safetensors").path).tensor("logits").floats()
    }
    func distance(_ other: [Float]) -> Float {
      let difference = zip(ours, other).reduce(Float(0)) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
      return (difference / other.reduce(Float(0)) { $0 + $1 * $1 }).squareRoot()
    }
    // Rounding moves the logits by 7 %; sums that differ in their last bit turn a few roundings the other way.
    let (rounded, float) = (distance(try theirs("fp8_dynamic.rounded")), distance(try theirs("fp8_dynamic")))
    #expect(float > 0.05 && rounded < 0.02, "\(rounded), \(float)")
  }

  @Test(arguments: ["w4a16_asym", "fp8_dynamic", "nvfp4a16", "mxfp4a16"])
  func `zstd, tar and safetensors see what we see`(_ name: String) throws {
    let path = folder.appending(path: name + ".tar.zst").path
    let artifact = try Artifact(path: path)
    try artifact.check()
    let seen = try #require(try json("seen.json")[name])
    #expect(artifact.members.map(\.name) == seen["tar -tf"]?.arrayValue?.compactMap(\.stringValue))
    let tensors = try #require(seen["safetensors"]?.objectValue)
    #expect(artifact.tensors.map(\.name).sorted() == tensors.members.map(\.name).sorted())
    for info in artifact.tensors {
      let entry = try #require(tensors[info.name]?.arrayValue)
      #expect(entry[0].stringValue == info.dtype.rawValue)
      #expect(entry[1].arrayValue?.compactMap(\.intValue) == info.shape.extents)
    }
  }
}
