public import Checkpoints
internal import Crypto
internal import Foundation
public import Models
public import Tensors
public import Tokenizers

/// A model with the tokenizer that belongs to it.
public struct ModelInputs: Sendable {
  /// The model.
  public let model: LanguageModel
  /// Its tokenizer.
  public let tokenizer: Tokenizer
  /// The token that begins or ends texts, put between documents; `nil` if the model has none.
  public let separator: Int?
  /// The token that the model wants before every text, if it wants one.
  public let beginToken: Int?

  /// The token to put before every window cut out of a text.
  ///
  /// A begin token of its own, as Llama's, belongs there: the first positions lean on it. One that also ends texts
  /// says that a new text starts, which is wrong in the middle of one: it raised the pocket model's perplexity by 9 %.
  public var windowBegin: Int? { beginToken.flatMap { model.configuration.endTokens.contains($0) ? nil : $0 } }

  /// Opens a model: a folder, a safetensors file, an artifact, or `org/name` in the Hugging Face cache.
  ///
  /// - Parameter adapter: a folder of PEFT's, merged into the weights as they are read; rows of linears that the model
  ///   stores quantized are decoded and merged when they are multiplied with.
  public static func openModel(
    _ name: String, adapter: String? = nil, environment: [String: String]? = nil
  ) throws -> LanguageModel {
    let environment = environment ?? ProcessInfo.processInfo.environment
    do {
      let checkpoint = try Checkpoint(name, environment: environment)
      guard let adapter else { return try LanguageModel(checkpoint) }
      return try LanguageModel(try checkpoint.adapted(by: Adapter(folder: adapter), deferringQuantized: true))
    } catch { throw PipelineError.wrapping(error) }
  }

  /// Reads the tokenizer of an opened model.
  public init(_ model: LanguageModel) throws {
    self.model = model
    let checkpoint = model.checkpoint
    do {
      var options: TokenizerOptions?
      if let bytes = try checkpoint.file("tokenizer_config.json") {
        options = try TokenizerOptions(json: bytes, file: checkpoint.name + "/tokenizer_config.json")
      }
      let tokenizer: Tokenizer
      if let bytes = try checkpoint.file("tokenizer.json") {
        tokenizer = try Tokenizer(json: bytes, file: checkpoint.name + "/tokenizer.json")
      } else if let bytes = try checkpoint.file("tokenizer.model") {
        tokenizer = try Tokenizer(
          sentencePiece: bytes, file: checkpoint.name + "/tokenizer.model", options: options)
      } else {
        throw PipelineError.input(
          "\(checkpoint.name) has neither tokenizer.json nor tokenizer.model, so text cannot be read; "
            + "calibration and text need one")
      }
      guard tokenizer.largestID < model.configuration.vocabularySize else {
        throw PipelineError.input(
          "\(checkpoint.name): the tokenizer has token id \(tokenizer.largestID), "
            + "the model's vocabulary holds \(model.configuration.vocabularySize)")
      }
      self.tokenizer = tokenizer
      let template = tokenizer.encode("", addingSpecialTokens: true).first
      let configured = options?.addsBOSToken == true ? options?.bosToken.flatMap(tokenizer.id(of:)) : nil
      beginToken = template ?? configured
      separator = beginToken ?? model.configuration.endTokens.first
    } catch { throw PipelineError.wrapping(error) }
  }

  /// Ids of a prompt, the model's begin token first if it wants one.
  public func prompt(_ text: String) -> [Int] {
    (beginToken.map { [$0] } ?? []) + tokenizer.encode(text, addingSpecialTokens: false)
  }
}

extension Checkpoint {
  /// SHA-256 over `config.json` and, for each tensor in order, its name, type, shape and bytes.
  ///
  /// The same model has the same digest however it is sharded only if its tensors come in the same order.
  ///
  /// - Parameter look: sees every tensor on the way; may throw to refuse one.
  public func contentDigest(_ look: (_ name: String, Tensor) throws -> Void = { _, _ in }) throws -> String {
    var hash = SHA256()
    hash.update(data: Data(try file("config.json") ?? []))
    for info in weights.tensors {
      hash.update(data: Data("\n\(info.name) \(info.dtype.rawValue) \(info.shape)\n".utf8))
      let tensor = try weights.tensor(info.name)
      tensor.withBytes { hash.update(bufferPointer: $0) }
      try look(info.name, tensor)
      weights.discardPages()
    }
    return hash.finalize().hexadecimal
  }
}

extension Sequence<UInt8> {
  /// Two lower-case digits a byte.
  var hexadecimal: String {
    map { byte in
      let digits = String(byte, radix: 16)
      return digits.count == 1 ? "0" + digits : digits
    }.joined()
  }
}
