internal import Checkpoints
internal import Crypto
internal import Foundation
internal import Models
internal import StrictJSON

extension Adapter {
  /// The folder's name.
  var name: String { URL(filePath: path).standardizedFileURL.lastPathComponent }

  /// SHA-256 over `adapter_config.json` and `adapter_model.safetensors`, one after the other.
  func contentDigest() throws -> String {
    var hash = SHA256()
    for name in ["adapter_config.json", "adapter_model.safetensors"] { hash.update(data: Data(try file(name) ?? [])) }
    return hash.finalize().hexadecimal
  }

  /// What recipes and reports say of it.
  func identity() throws -> JSONValue { ["name": .string(name), "sha256": .string(try contentDigest())] }
}

extension LanguageModel {
  /// What the model is called in reports, with its adapter if it has one.
  func reportName() throws -> String {
    guard let adapter = checkpoint.adapter else { return checkpoint.name }
    return "\(checkpoint.name) with adapter \(adapter.name) (sha256 \(try adapter.contentDigest()))"
  }
}
