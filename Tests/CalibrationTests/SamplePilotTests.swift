import Kernels
import Models
import Quantization
import Tensors
import TestSupport
import Testing

@testable import Calibration

@Suite struct SamplePilotTests {
  private static func pilot(
    _ tiny: TinyLayer, _ schemes: [String: QuantizationScheme], _ method: Calibration.Method
  ) throws -> SamplePilot? {
    let heldOut = tiny.hiddenStates(400, seed: 9)
    // In two chunks: what is judged on is all of them.
    let states = try HiddenStates(
      chunks: [Sequences(lengths: [150, 50]), Sequences(lengths: [200])], columns: tiny.hiddenSize)
    try states.write(heldOut.rows(0..<200), to: 0)
    try states.write(heldOut.rows(200..<400), to: 1)
    return try SamplePilot(tiny.quantizer(schemes, method: method), heldOut: states, tables: tiny.tables)
  }

  private static func add(_ tokens: Int, _ tiny: TinyLayer, seed: UInt64, to pilot: inout SamplePilot) throws {
    try pilot.add(HiddenStates(tiny.hiddenStates(tokens, seed: seed), Sequences(lengths: [tokens])))
  }

  private static let scheme = QuantizationScheme.w4a16Asymmetric.withGroupSize(32)

  @Test(arguments: [Calibration.Method.gptq, .awqGPTQ, .awq])
  func `more text lowers the error, and less the more there was`(_ method: Calibration.Method) throws {
    let tiny = TinyLayer()
    var pilot = try #require(try Self.pilot(tiny, tiny.all(Self.scheme), method))
    try Self.add(20, tiny, seed: 1, to: &pilot)
    let few = try #require(pilot.error())
    try Self.add(200, tiny, seed: 2, to: &pilot)
    let some = try #require(pilot.error())
    try Self.add(380, tiny, seed: 3, to: &pilot)
    let many = try #require(pilot.error())
    #expect(0 < many && many < some && some < few && few < 0.1, "\(few) \(some) \(many)")
    #expect(few / some > some / many, "\(few) \(some) \(many)")
  }

  @Test func `of a layer with experts the others are measured`() throws {
    let mixture = TinyMixture()
    let schemes = mixture.tiny.all(Self.scheme)
    var pilot = try #require(try Self.pilot(mixture.tiny, schemes, .gptq))
    try Self.add(60, mixture.tiny, seed: 1, to: &pilot)
    let few = try #require(pilot.error())
    try Self.add(500, mixture.tiny, seed: 2, to: &pilot)
    #expect(try #require(pilot.error()) < few)
    let experts = schemes.filter { $0.key.contains(".experts.") }
    #expect(!experts.isEmpty)
    #expect(try Self.pilot(mixture.tiny, experts, .gptq) == nil)
  }

  @Test func `nothing is measured where nothing is learned, or numbers are not finite`() throws {
    var tiny = TinyLayer()
    #expect(try Self.pilot(tiny, tiny.all(Self.scheme), .roundToNearest) == nil)
    #expect(try Self.pilot(tiny, tiny.all(.w8a16), .awq) == nil)
    #expect(try Self.pilot(tiny, [:], .gptq) == nil)
    var damaged = try tiny.layer.matrix("self_attn.v_proj")
    damaged[0, 0] = .nan
    try tiny.layer.set("self_attn.v_proj", damaged)
    var pilot = try #require(try Self.pilot(tiny, tiny.all(Self.scheme), .gptq))
    try Self.add(100, tiny, seed: 1, to: &pilot)
    #expect(pilot.error() == nil)
  }
}
