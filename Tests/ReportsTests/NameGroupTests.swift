import TestSupport
import Testing

@testable import Reports

@Suite struct NameGroupTests {
  private func patterns(_ names: [String], label: (Int) -> String = { _ in "" }) -> [String] {
    NameGroup.groups(of: names, by: label).map { "\($0.pattern) ×\($0.members.count)" }
  }

  private func experts(_ layers: Range<Int>, _ experts: Range<Int>) -> [String] {
    layers.flatMap { layer in experts.map { "m.layers.\(layer).experts.\($0).up.weight" } }
  }

  @Test func `every combination of numbers is one pattern`() {
    #expect(patterns(experts(0..<61, 0..<256)) == ["m.layers.{0-60}.experts.{0-255}.up.weight ×15616"])
    #expect(patterns(["a.0.b", "c", "a.2.b", "a.1.b", "a.9.b"]) == ["a.{0-2,9}.b ×4", "c ×1"])
    #expect(patterns(["lm_head.weight"]) == ["lm_head.weight ×1"])
    #expect(patterns([]) == [])
  }

  @Test func `a missing combination makes patterns that do not claim it`() {
    var names = experts(0..<4, 0..<8)
    names.remove(at: 8 + 3)
    #expect(
      patterns(names) == ["m.layers.{0,2-3}.experts.{0-7}.up.weight ×24", "m.layers.1.experts.{0-2,4-7}.up.weight ×7"])
  }

  @Test func `another label is another group`() {
    let names = experts(0..<3, 0..<4)
    #expect(
      patterns(names) { $0 == 5 ? "dropped" : "kept" } == [
        "m.layers.{0,2}.experts.{0-3}.up.weight ×8", "m.layers.1.experts.{0,2-3}.up.weight ×3",
        "m.layers.1.experts.1.up.weight ×1",
      ])
  }

  @Test func `only whole parts are numbers, and only as they would be written again`() {
    #expect(
      patterns(["a.w1", "a.w2", "a.007", "a.7", "a.8", "a.-1", "a.99999999999999999999", "", ".", "a..0"]).sorted()
        == [
          " ×1", ". ×1", "a..0 ×1", "a.-1 ×1", "a.007 ×1", "a.99999999999999999999 ×1", "a.w1 ×1", "a.w2 ×1",
          "a.{7-8} ×2",
        ]
        .sorted())
  }

  @Test func `long sets leave out their middle`() {
    #expect(NumberBox.text((0..<30).map { 2 * $0 }) == "{0,2,4,6,8,10,12,…,58}")
  }

  @Test(arguments: 0..<20) func `groups are exactly the names, whatever is missing`(seed: Int) {
    var generator = SeededGenerator(seed: UInt64(seed))
    let names = experts(0..<5, 0..<6).filter { _ in Bool.random(using: &generator) }
    let labels = names.map { _ in Int.random(in: 0..<2, using: &generator) }
    let groups = NameGroup.groups(of: names) { labels[$0] }
    #expect(groups.flatMap(\.members).sorted() == Array(names.indices))
    for group in groups {
      #expect(group.members.allSatisfy { labels[$0] == group.label })
      #expect(Set(expanded(group.pattern)) == Set(group.members.map { names[$0] }))
    }
  }

  /// All names that a pattern stands for.
  private func expanded(_ pattern: String) -> [String] {
    guard let open = pattern.firstIndex(of: "{"), let close = pattern.firstIndex(of: "}") else { return [pattern] }
    return pattern[pattern.index(after: open)..<close].split(separator: ",").flatMap { run -> [String] in
      let ends = run.split(separator: "-").compactMap { Int($0) }
      return (ends[0]...ends[ends.count - 1]).flatMap {
        expanded(pattern[..<open] + String($0) + pattern[pattern.index(after: close)...])
      }
    }
  }
}
