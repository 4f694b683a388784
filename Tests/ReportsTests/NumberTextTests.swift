import Testing

@testable import Reports

@Suite struct NumberTextTests {
  @Test(arguments: [
    (0.0, "0"), (0.018249, "0.0182"), (0.00099951, "0.00100"), (0.9996, "1.00"), (9.996, "10.0"), (1234, "1,230"),
    (-0.5, "−0.500"), (3.1e-5, "3.10×10⁻⁵"), (1.5e9, "1.50×10⁹"), (.infinity, "∞"), (-.infinity, "−∞"), (.nan, "–"),
    (999_600, "1.00×10⁶"), (99_949, "99,900"), (0.0001, "0.000100"), (.leastNonzeroMagnitude, "4.94×10⁻³²⁴"),
    (.greatestFiniteMagnitude, "1.80×10³⁰⁸"),
  ])
  func `three significant digits`(value: Double, text: String) {
    #expect(NumberText.significant(value) == text)
  }

  @Test(arguments: [
    (0.943, "94.3%"), (0.9987, "99.87%"), (0.99999, "99.9990%"), (0.01, "1.00%"), (1, "100%"), (0.5, "50.0%"),
  ])
  func `percentages near a hundred get the digits they need`(value: Double, text: String) {
    #expect(NumberText.percent(value) == text)
  }

  @Test func `sizes, times and counts`() {
    #expect(NumberText.bytes(999) == "999 B" && NumberText.bytes(999_600) == "1.00 MB")
    #expect(NumberText.bytes(5_203_412_992) == "5.20 GB" && NumberText.bytes(0) == "0 B")
    #expect(NumberText.duration(0.25) == "250 ms" && NumberText.duration(59.97) == "1 min 0 s")
    #expect(NumberText.duration(3451) == "57 min 31 s" && NumberText.duration(7260) == "2 h 1 min")
    #expect(NumberText.count(1_234_567) == "1,234,567" && NumberText.count(-12) == "−12")
    #expect(NumberText.roundPercent(0.92) == "92%" && NumberText.roundPercent(0.005) == "0.5%")
    #expect(NumberText.fixed(-0.04, decimals: 1) == "0.0" && NumberText.fixed(1.25, decimals: 1) == "1.3")
  }
}
