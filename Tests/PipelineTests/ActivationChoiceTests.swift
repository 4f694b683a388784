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

/// Whose inputs are rounded to int8: measured by runs, kept in their output, followed by generation.
@Suite struct ActivationChoiceTests {
  private static let attention = ["q_proj", "k_proj", "v_proj"].map { "model.layers.0.self_attn." + $0 }

  /// A model whose first attention reads two channels that are far louder than the others and weigh as much less.
  private static func outlying() -> TinyModel {
    var tiny = TinyModel(modelType: "qwen2")
    let drawn = Dictionary(uniqueKeysWithValues: tiny.drawnTensors().map { ($0.name, $0.tensor) })
    func change(_ name: String, _ body: (inout [Float]) -> Void) {
      guard let tensor = drawn[name] else { return }
      var values = tensor.floats()
      body(&values)
      tiny.tensors[name] = Tensor(tensor.shape, floats: values, as: tensor.dtype)
    }
    change("model.layers.0.input_layernorm.weight") { for channel in [5, 40] { $0[channel] *= 256 } }
    for name in attention {
      change(name + ".weight") { values in
        for row in 0..<values.count / 64 { for channel in [5, 40] { values[row * 64 + channel] /= 256 } }
      }
    }
    return tiny
  }

  private static func verify(_ bench: Workbench, _ output: String, asGeneration: Bool) throws -> Report {
    var request = Verification.Request(reference: bench.model, candidate: bench.folder(output))
    request.texts = [bench.folder("text.txt")]
    request.tokens = 512
    request.sequenceLength = 64
    request.roundsAsGeneration = asGeneration
    return try Verification.run(request)
  }

  private static func generated(
    _ bench: Workbench, _ output: String, _ activations: TextGeneration.Activations
  ) throws -> String {
    try TextGeneration.run(
      model: bench.folder(output), prompt: "Line", maximumTokens: 2, sampling: Sampling(), activations: activations
    ) { _ in }.activations
  }

  @Test func `an outlier keeps float, and everything that reads the output follows`() throws {
    let bench = try Workbench(Self.outlying())
    // Feedback alone folds nothing, so that the outlier stays.
    let outcome = try bench.quantize(bench.recipe(.w4a16Asymmetric, .gptq))
    let choice = try #require(try bench.open().quantization?.activationChoice)
    #expect(choice.measured == 14 && choice.floats == Self.attention, "\(choice)")
    let reported = try #require(outcome.calibration?.int8Activations)
    #expect(reported.measured == 14 && reported.int8 == 11, "\(reported)")
    #expect(reported.added.median > 0 && reported.added.median <= reported.added.largest)
    #expect(reported.sentence.hasPrefix("11 of 14 linears take activations in int8, which adds"))
    var report = try Self.verify(bench, "out.tar.zst", asGeneration: true)
    #expect(report.arithmetic == .init(activations: .int8, keysAndValues: .float, floatLinears: 3))
    #expect(report.arithmetic?.sentence.contains("int8 as in generation, but for 3 linears") ?? false)
    report.add(outcome)
    let parsed = try Report(json: report.json())
    #expect(parsed.arithmetic == report.arithmetic && parsed.calibration == report.calibration)
    #expect(report.markdown().contains("11 of 14 linears") && report.html().contains("11 of 14 linears"))
    #expect(try Self.generated(bench, "out.tar.zst", .auto) == "activations int8, float in 3 of 14 linears")
    #expect(try Self.generated(bench, "out.tar.zst", .int8) == "activations int8")
    #expect(try Self.generated(bench, "out.tar.zst", .float) == "activations float")

    // The numbers follow: without the choice the outlier is rounded too.
    try bench.quantize(bench.recipe(.w4a16Asymmetric, .gptq), to: "out/")
    let float = try Self.verify(bench, "out/", asGeneration: false).divergence
    let chosen = try Self.verify(bench, "out/", asGeneration: true).divergence
    #expect(chosen == report.divergence && chosen != float && chosen < 1.05 * float, "\(chosen), \(float)")
    try FileManager.default.removeItem(atPath: bench.folder("out/" + ActivationChoice.fileName))
    let forced = try Self.verify(bench, "out/", asGeneration: true)
    #expect(forced.divergence > 1.2 * float, "\(forced.divergence), \(float)")
    #expect(forced.arithmetic == .init(activations: .int8, keysAndValues: .float))
    #expect(try Self.generated(bench, "out/", .auto) == "activations int8, not measured")
  }

  @Test func `scales take the outlier out`() throws {
    let bench = try Workbench(Self.outlying())
    try bench.quantize(bench.recipe(.w4a16Asymmetric, .awq))
    let choice = try #require(try bench.open().quantization?.activationChoice)
    #expect(choice == ActivationChoice(measured: 14, floats: []))
    #expect(try Self.generated(bench, "out.tar.zst", .auto) == "activations int8, as measured")
  }

  @Test(arguments: [(QuantizationScheme.w4a16Asymmetric, Calibration.Method.roundToNearest), (.fp8Dynamic, .awq)])
  func `what is not calibrated, or never int8, is not measured`(
    scheme: QuantizationScheme, method: Calibration.Method
  ) throws {
    let bench = try Workbench()
    let outcome = try bench.quantize(bench.recipe(scheme, method))
    #expect(try bench.open().quantization?.activationChoice == nil && outcome.calibration?.int8Activations == nil)
    #expect(try !bench.artifact().members.map(\.name).contains(ActivationChoice.fileName))
  }

  @Test func `the choice goes with codes that stay, and with no others`() throws {
    let bench = try Workbench(Self.outlying())
    try bench.quantize(bench.recipe(.w4a16Asymmetric, .gptq))
    let model = try bench.open()
    func choice(_ output: String) throws -> ActivationChoice? { try bench.open(output).quantization?.activationChoice }
    _ = try Conversion(model, to: .compressedTensors).write(to: bench.folder("again/"))
    #expect(try choice("again/") == choice("out.tar.zst"))
    _ = try Conversion(model, to: .bfloat16).write(to: bench.folder("bf16/"))
    #expect(!bench.folder.has("bf16/" + ActivationChoice.fileName))
    func quantize(_ recipe: Recipe, to output: String) throws {
      _ = try QuantizationRun(
        .init(model: bench.folder("out.tar.zst"), output: bench.folder(output), recipe: recipe)
      ).execute()
    }
    // The same codes for the first layer, others for the second.
    var recipe = bench.recipe(.w4a16Asymmetric)
    recipe.rules = [.init(targets: ["re:model\\.layers\\.1\\..*"], scheme: .w8a16, method: .gptq)]
    try quantize(recipe, to: "mixed.tar.zst")
    let mixed = try #require(try choice("mixed.tar.zst"))
    #expect(mixed.measured == 14 && mixed.floats == Self.attention, "\(mixed)")
    try quantize(bench.recipe(.fp8Dynamic), to: "fp8.tar.zst")
    #expect(try choice("fp8.tar.zst") == nil)
  }

  @Test func `a choice that names no quantized linear is refused`() throws {
    let bench = try Workbench()
    try bench.quantize(bench.recipe(.w4a16Asymmetric, .gptq), to: "out/")
    try bench.folder.write(
      "out/" + ActivationChoice.fileName, #"{"version": 1, "measured": 14, "float": ["model.layers.7.mlp.up_proj"]}"#)
    let message = refusal { _ = try bench.open("out/") }
    #expect(message.contains(ActivationChoice.fileName) && message.contains("no quantized linear"), "\(message)")
  }
}
