import Foundation
import Models
import TestSupport
import Testing

/// `formats/adding-a-family.md` quotes a source file; here it is compared with that file.
@Suite struct ContributorPageTests {
  private static func text(_ path: String) throws -> String {
    try String(contentsOf: URL(filePath: SharedFolder.repository + "/" + path), encoding: .utf8)
  }

  @Test func `the family that the page quotes is the one that is compiled`() throws {
    let page = try Self.text("formats/adding-a-family.md")
    let quoted = try #require(page.components(separatedBy: "```swift\n").dropFirst().first)
    let code = try #require(quoted.components(separatedBy: "```").first)
    #expect(code == (try Self.text("Sources/Models/Architectures/Ernie45.swift")))
  }

  @Test func `every file that the page names is there`() throws {
    let names = try Self.text("formats/adding-a-family.md").matches(of: /`([A-Za-z0-9_\/+-]+\.(?:swift|md|py))`/)
      .map { String($0.1) }
    let all =
      try FileManager.default.subpathsOfDirectory(atPath: SharedFolder.repository + "/Sources/Models")
      + FileManager.default.subpathsOfDirectory(atPath: SharedFolder.repository + "/Tests/ModelsTests")
    #expect(names.count > 8)
    for name in names {
      let isThere = FileManager.default.fileExists(atPath: SharedFolder.repository + "/" + name)
      #expect(isThere || all.contains { $0 == name || $0.hasSuffix("/" + name) }, "\(name)")
    }
  }

  @Test func `every family has a golden of its own`() throws {
    let covered = Set(try ModelVectors.families.map { try ModelVectors.family($0).configuration.modelType })
    // Llama and Qwen 2 are in Vectors; the rest compute as a family that is covered does.
    let others: Set = ["llama", "qwen2", "ministral", "qwen2_vl_text", "mimo", "kimi_k2"]
    #expect(Set(Architecture.all.flatMap(\.modelTypes)) == covered.union(others))
  }
}
