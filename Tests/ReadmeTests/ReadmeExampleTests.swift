import Foundation
import Models
import Pipeline
import Quantization
import TestSupport
import Testing

/// The program that the README shows, compiled; the test holds the two texts against each other.
@Suite struct ReadmeExampleTests {
  // README begins
  func quantizeVerifyAndRun(model: String, output: String) throws -> Double {
    let recipe = Recipe(scheme: .fp8Dynamic, method: .roundToNearest)
    let run = try QuantizationRun(.init(model: model, output: output, recipe: recipe))
    let outcome = try run.execute()
    let report = try Verification.run(.init(reference: model, candidate: output))
    print("\(outcome.summary.byteCount) bytes, SHA-256 \(outcome.summary.sha256)")
    let sampling = Sampling(temperature: 0.7, seed: 1)
    _ = try TextGeneration.run(model: output, prompt: "Once upon a time", maximumTokens: 20, sampling: sampling) {
      print($0, terminator: "")
    }
    return report.accuracy?.comparison?.divergence.mean.value ?? .nan
  }
  // README ends

  @Test func `the README shows this program`() throws {
    let readme = try String(contentsOfFile: SharedFolder.repository + "/README.md", encoding: .utf8)
    let source = try String(contentsOfFile: #filePath, encoding: .utf8)
    let start = try #require(source.range(of: "  // README begins\n")).upperBound
    let end = try #require(source.range(of: "  // README ends\n")).lowerBound
    let shown = source[start..<end].split(separator: "\n").map { String($0.dropFirst(2)) }.joined(separator: "\n")
    #expect(readme.contains(shown))
  }

  @Test func `it quantizes, verifies and runs the embedded model`() throws {
    let output = FileManager.default.temporaryDirectory.appending(path: "readme-\(UUID().uuidString).tar.zst").path
    defer { try? FileManager.default.removeItem(atPath: output) }
    let divergence = try quantizeVerifyAndRun(model: DemoModel.path, output: output)
    #expect(divergence > 0 && divergence < 0.01)
  }

  @Test func `the pages that the README links to exist`() throws {
    let readme = try String(contentsOfFile: SharedFolder.repository + "/README.md", encoding: .utf8)
    for file in ["formats/artifact.md", "formats/recipe.md", "calibration/README.md"] {
      #expect(readme.contains(file))
      #expect(FileManager.default.fileExists(atPath: SharedFolder.repository + "/" + file))
    }
  }
}
