import Foundation
import StrictJSON
import Testing

/// Files that outputs are compared with; `QUANTIZE_UPDATE_GOLDEN=1 swift test` writes them anew.
enum Golden {
  private static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden")

  static func text(_ name: String) throws -> String {
    let bundled = try #require(Bundle.module.url(forResource: "Golden/" + name, withExtension: nil))
    return try String(contentsOf: bundled, encoding: .utf8)
  }

  static func json(_ name: String) throws -> JSONValue { try JSONValue(parsing: text(name).utf8) }

  static func expect(_ text: String, is name: String, at location: SourceLocation = #_sourceLocation) throws {
    if ProcessInfo.processInfo.environment["QUANTIZE_UPDATE_GOLDEN"] != nil {
      try text.write(to: folder.appending(path: name), atomically: true, encoding: .utf8)
      return
    }
    let expected = try self.text(name).split(separator: "\n", omittingEmptySubsequences: false)
    let found = text.split(separator: "\n", omittingEmptySubsequences: false)
    let different = zip(expected, found).enumerated().first { $0.element.0 != $0.element.1 }
    let line = different.map { "line \($0.offset + 1): expected \($0.element.0), found \($0.element.1)" }
    #expect(expected == found, "\(name), \(line ?? "length")", sourceLocation: location)
  }
}
