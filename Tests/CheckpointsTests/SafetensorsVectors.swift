import Checkpoints
import Foundation
import Tensors

/// The files of `Vectors/good` and `Vectors/refused`, which `Vectors/make_safetensors.py` writes.
enum SafetensorsVectors {
  static func path(_ name: String) -> String {
    Bundle.module.resourcePath.map { "\($0)/Vectors/\(name).safetensors" } ?? name
  }

  static func bytes(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(filePath: path(name)))) }

  static func names(in folder: String) throws -> [String] {
    let path = Bundle.module.resourcePath.map { "\($0)/Vectors/\(folder)" } ?? folder
    return try FileManager.default.contentsOfDirectory(atPath: path)
      .filter { $0.hasSuffix(".safetensors") }.map { String($0.dropLast(".safetensors".count)) }.sorted()
  }
}

extension SafetensorsFile {
  /// A file of given bytes that is called `x`.
  init(bytes: [UInt8]) throws(CheckpointError) {
    try self.init(TensorStorage(byteCount: bytes.count) { $0.copyBytes(from: bytes) }, path: "x")
  }
}

extension Tensor {
  /// A copy of the bytes.
  var bytes: [UInt8] { withBytes { Array($0) } }
}
