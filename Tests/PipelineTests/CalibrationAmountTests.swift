import Calibration
import Quantization
import TestSupport
import Testing

@testable import Pipeline

@Suite struct CalibrationAmountTests {
  private static func linear(
    _ inFeatures: Int, _ scheme: QuantizationScheme?, _ method: Calibration.Method
  ) -> LinearPlan {
    LinearPlan(
      name: "a", outFeatures: 8, inFeatures: inFeatures, scheme: scheme, method: method, remark: nil, reason: nil)
  }

  private static func remarks(_ tokens: Int, _ linears: LinearPlan...) -> [String] {
    CalibrationAmount(tokens: tokens, linears: linears).remarks
  }

  @Test func `feedback takes two tokens a channel of the widest input`() throws {
    let linears = [Self.linear(4096, .fp8Dynamic, .gptq), Self.linear(1024, .w4a16, .awqGPTQ)]
    #expect(CalibrationAmount(tokens: 8192, linears: linears).remarks.isEmpty)
    let few = CalibrationAmount(tokens: 8191, linears: linears).remarks
    try #require(few.count == 1)
    for words in ["8191 tokens", "4096 input channels", "takes 8192", "--samples"] {
      #expect(few[0].contains(words), "\(few[0])")
    }
    #expect(Self.remarks(100, Self.linear(4096, .fp8Dynamic, .roundToNearest)).isEmpty)
    #expect(Self.remarks(100, Self.linear(4096, nil, .gptq)).isEmpty, "what is kept learns nothing")
  }

  @Test func `clipping takes eight tokens a channel of the largest group`() throws {
    #expect(Self.remarks(1024, Self.linear(4096, .w4a16, .awq)).isEmpty)
    let few = Self.remarks(1023, Self.linear(4096, .w4a16, .awq), Self.linear(64, .w4a16.withGroupSize(64), .awq))
    try #require(few.count == 1)
    for words in ["1023 tokens", "groups of 128", "takes 1024"] { #expect(few[0].contains(words), "\(few[0])") }
    // Whole rows are clipped by variances, eight bits not at all, and float formats neither.
    for scheme in [QuantizationScheme.w4a16.withGroupSize(nil), .w8a16, .fp8] {
      #expect(Self.remarks(10, Self.linear(4096, scheme, .awq)).isEmpty, "\(scheme.name)")
    }
    #expect(Self.remarks(10, Self.linear(4096, .w4a16, .roundToNearest)).isEmpty)
    #expect(Self.remarks(10, Self.linear(4096, .w4a16, .gptq)).count == 2)
  }

  @Test func `a run says so before it begins`() throws {
    let bench = try Workbench()
    let remarks = try bench.run(bench.recipe(.w4a16, .gptq)).remarks
    #expect(remarks.contains { $0.contains("are few for clipping groups of") }, "\(remarks)")
    #expect(try bench.run(bench.recipe(.w4a16, .roundToNearest)).remarks.allSatisfy { !$0.contains("are few") })
    let outcome = try bench.quantize(bench.recipe(.w4a16, .awq))
    #expect(outcome.warnings.contains { $0.contains("are few for clipping groups of") })
  }
}
