import Calibration
import Checkpoints
import Foundation
import Models
import Pipeline
import Quantization
import Reports
import StrictJSON
import Tensors
import TestSupport
import Testing

/// A model, and what runs make of it, in a folder that goes with it.
struct Workbench {
  let folder: TestFolder

  /// A tiny model under the name `model`, and a text to calibrate with and judge by.
  init(_ tiny: TinyModel = TinyModel(modelType: "qwen2")) throws {
    folder = try TestFolder()
    try tiny.write(to: folder("model"))
    try folder.write("text.txt", Self.text)
  }

  /// Bytes are the tiny model's tokens; some hundreds of them, none like the next.
  static let text = (0..<40).map { "Line \($0): the \($0 * 7 % 13) cats saw \($0 * 5 % 11) birds.\n" }.joined()

  var model: String { folder("model") }

  func recipe(_ scheme: QuantizationScheme = .w4a16Asymmetric, _ method: Calibration.Method = .roundToNearest) -> Recipe
  {
    Recipe(scheme: scheme, method: method, calibration: [folder("text.txt")], samples: 6, sequenceLength: 64)
  }

  func run(_ recipe: Recipe, to output: String = "out.tar.zst") throws -> QuantizationRun {
    try QuantizationRun(.init(model: model, output: folder(output), recipe: recipe))
  }

  @discardableResult
  func quantize(_ recipe: Recipe, to output: String = "out.tar.zst") throws -> QuantizationRun.Outcome {
    try run(recipe, to: output).execute()
  }

  func verify(_ output: String = "out.tar.zst") throws -> Report {
    var request = Verification.Request(reference: model, candidate: folder(output))
    request.texts = [folder("text.txt")]
    request.tokens = 512
    request.sequenceLength = 64
    return try Verification.run(request)
  }

  func artifact(_ output: String = "out.tar.zst") throws -> Artifact { try Artifact(path: folder(output)) }

  func open(_ output: String = "out.tar.zst") throws -> LanguageModel { try ModelInputs.openModel(folder(output)) }

  func logits(_ output: String, _ ids: [Int] = [256, 84, 104, 101, 32, 99, 97, 116]) throws -> Matrix {
    try ModelInputs.openModel(folder(output)).logits(of: ids)
  }
}

extension Report {
  /// The mean divergence of a report that has one.
  var divergence: Double { accuracy?.comparison?.divergence.mean.value ?? .nan }
}

/// The sentence of an error that a body throws, or the empty string.
func refusal(_ body: () throws -> Void) -> String {
  do { try body() } catch { return "\(error)" }
  return ""
}
