import Calibration
import Quantization
import TestSupport
import Testing

@testable import Pipeline

@Suite struct MemoryPlanTests {
  private static func plan(tokens: Int, limit: Int? = nil, method: String = "awq+gptq") throws -> MemoryPlan {
    let bench = try Workbench()
    var recipe = Recipe(scheme: .w4a16Asymmetric.withGroupSize(32), method: .awqGPTQ)
    if method == "awq" { recipe.method = .awq }
    let run = try bench.run(recipe)
    return MemoryPlan(run.model, run.plan, recipe: recipe, tokens: tokens, window: 64, limit: limit)
  }

  @Test func `much text waits in a file although no limit was given`() throws {
    let little = try Self.plan(tokens: 4096)
    #expect(!little.spills && little.chunkRows == 2048)
    let much = try Self.plan(tokens: 1 << 26)
    #expect(much.spills && much.chunkRows == 2048 && much.peak < 4 << 30, "\(much)")
  }

  @Test func `a limit that holds everything keeps everything`() throws {
    let roomy = try Self.plan(tokens: 1 << 26, limit: 1 << 40)
    #expect(!roomy.spills && roomy.peak > 4 << 30, "\(roomy)")
  }

  @Test func `what is passed on takes a further copy of the states`() throws {
    let (feedback, plain) = (try Self.plan(tokens: 1 << 16), try Self.plan(tokens: 1 << 16, method: "awq"))
    #expect(feedback.peak > plain.peak, "\(feedback) and \(plain)")
  }
}
