import Calibration
import Checkpoints
import Foundation
import Quantization
import Reports
import StrictJSON
import TestSupport
import Testing

@testable import Pipeline

@Suite struct SampleConvergenceTests {
  /// Words that a text is drawn from: some thousand tokens, bytes of the tiny model.
  private static func text(_ lines: Int, _ word: (Int, inout SeededGenerator) -> String) -> String {
    var generator = SeededGenerator(seed: 3)
    return (0..<lines).map { word($0, &generator) }.joined()
  }

  private static let repeated = text(700) { _, _ in "The same cat sees the same bird again.\n" }
  private static let varied = text(700) { line, generator in
    // Ever new letters: each part of the text has its own.
    let letters = (0..<38).map { _ in UInt8(32 + (line / 12 * 7 + Int(generator.next() % 9)) % 95) }
    return String(decoding: letters, as: UTF8.self) + "\n"
  }

  private static func recipe(_ bench: Workbench, _ text: String, samples: Int? = nil) throws -> Recipe {
    var recipe = Recipe(scheme: .w4a16Asymmetric.withGroupSize(32), method: .awqGPTQ)
    recipe.calibration = [try bench.folder.write("calibration.txt", text)]
    recipe.samples = samples
    recipe.sequenceLength = 64
    return recipe
  }

  private static func stored(_ bench: Workbench, _ output: String = "out.tar.zst") throws -> Data {
    try Data(contentsOf: URL(filePath: bench.folder(output)))
  }

  @Test func `a text that repeats itself needs few samples, a varied one more`() throws {
    let bench = try Workbench()
    let few = try #require(try bench.quantize(Self.recipe(bench, Self.repeated), to: "few.tar.zst").calibration)
    #expect(few.samples <= 32 && few.convergence.last?.samples == 2 * few.samples, "\(few)")
    let many = try #require(try bench.quantize(Self.recipe(bench, Self.varied), to: "many.tar.zst").calibration)
    #expect(many.samples >= 64 && many.convergence.count >= 3, "\(many)")
    let errors = many.convergence.map(\.error)
    #expect(errors[0] > 1.01 * errors[1] && errors[1] > 1.01 * errors[2], "\(errors)")
  }

  @Test(arguments: [Calibration.Method.awqGPTQ, .awq])
  func `the bytes are those of the same number given`(_ method: Calibration.Method) throws {
    let bench = try Workbench()
    var recipe = try Self.recipe(bench, Self.varied)
    recipe.method = method
    var said: [String] = []
    let outcome = try bench.run(recipe).execute { said.append($0.detail) }
    let found = try #require(outcome.calibration)
    #expect(said.contains { $0.hasPrefix("calibrating with \(found.samples) samples") }, "\(said)")
    recipe.samples = found.samples
    let given = try bench.quantize(recipe, to: "given.tar.zst")
    #expect(try Self.stored(bench) == Self.stored(bench, "given.tar.zst"))
    #expect(given.calibration?.samples == found.samples && given.calibration?.convergence == [])
    #expect(outcome.recipe == given.recipe)
    #expect(outcome.recipe["calibration"]?["samples"]?.intValue == found.samples)
  }

  @Test func `a number that is given is taken`() throws {
    let bench = try Workbench()
    let outcome = try bench.quantize(Self.recipe(bench, Self.repeated, samples: 40))
    #expect(outcome.calibration?.samples == 40 && outcome.calibration?.convergence == [])
    #expect(outcome.stages.allSatisfy { !$0.name.contains("samples") })
  }

  @Test func `an entropy-coded model is calibrated with what is found, and other tries look no more`() throws {
    let bench = try Workbench()
    var recipe = try Self.recipe(bench, Self.repeated)
    recipe.scheme = .entropyCoded(bits: 8)
    recipe.rate = .bits(4)
    let run = try bench.run(recipe)
    let outcome = try run.execute()
    #expect(outcome.calibration.map { $0.samples <= 32 } ?? false)
    let again = run.aiming(at: .bits(3.5), after: outcome)
    #expect(outcome.convergence?.samples == outcome.calibration?.samples)
    try FileManager.default.removeItem(atPath: bench.folder("out.tar.zst"))
    var said: [String] = []
    #expect(try again.execute { said.append($0.stage) }.calibration?.convergence == outcome.calibration?.convergence)
    #expect(!said.contains("samples"), "\(said)")
  }

  @Test func `where nothing is learned that can be measured, all samples are taken`() throws {
    let bench = try Workbench()
    for (scheme, method) in [(QuantizationScheme.fp8, Calibration.Method.roundToNearest), (.w8a8, .awq)] {
      var recipe = try Self.recipe(bench, Self.repeated)
      (recipe.scheme, recipe.method) = (scheme, method)
      let outcome = try bench.quantize(recipe, to: "\(scheme.name).tar.zst")
      #expect(outcome.calibration?.samples == 128 && outcome.calibration?.convergence == [], "\(scheme.name)")
    }
    let short = String(Self.varied.prefix(600))
    let outcome = try bench.quantize(Self.recipe(bench, short), to: "short.tar.zst")
    #expect(outcome.calibration?.samples == 9 && outcome.calibration?.convergence == [])
  }

  @Test func `the plan says how many there may be`() throws {
    let bench = try Workbench()
    #expect(
      try bench.run(Self.recipe(bench, Self.varied)).calibrationAmount
        == "at most 128 samples of 64 tokens, chosen by convergence")
    #expect(
      try bench.run(Self.recipe(bench, Self.varied, samples: 12)).calibrationAmount == "12 samples of 64 tokens")
    #expect(try bench.run(Recipe(method: .roundToNearest)).calibrationAmount == nil)
  }

  @Test func `a number's windows are those that a limit takes, and among those of twice the number`() throws {
    let all = TokenWindows(windows: (0..<300).map { [$0, $0] }, length: 2)
    var wider: Set<Int> = Set(0..<300)
    for number in [128, 64, 32, 16] {
      let windows = all.limited(to: number)
      #expect(windows.windows.map { $0[0] } == (0..<number).map { $0 * 300 / number })
      let (search, heldOut) = windows.heldOutPlaces
      #expect(windows.splitHeldOut.search.map { $0[0] } == search && heldOut.count == number / 8)
      #expect(wider.isSuperset(of: search), "\(number)")
      wider = Set(search)
    }
    #expect(all.limited(to: 100).others(limit: 50).count == 50)
  }
}
