import StrictJSON
import Testing

@Suite struct JSONTests {
  private func parse(_ text: String) throws -> JSONValue { try JSONValue(parsing: text.utf8) }

  @Test func `a document keeps key order and number spelling`() throws {
    let text = #"{"z":1e-06,"a":[1,-2.50,{"b":null}],"é\n":true}"#
    #expect(try parse(text).compactText == text)
  }

  @Test func `escapes and surrogate pairs are read`() throws {
    #expect(try parse(#""\u00e9\ud83d\ude00\/\t""#) == .string("é😀/\t"))
  }

  @Test func `numbers of 64 bits are exact`() throws {
    #expect(try parse("9223372036854775807").intValue == Int.max)
    #expect(try parse("1000000000000000019884624838656").doubleValue == 1e30)
  }

  @Test(arguments: [
    "", "{", "[1,]", "{\"a\":1,}", "01", "-", "1.", "1e", "+1", ".5", "nul", "\"\u{1}\"", "\"\\x\"", "\"\\ud800\"",
    "\"\\ude00\"", "[1] 2", "{\"a\":1,\"a\":2}", "{'a':1}", "\u{FEFF}{}", "NaN", "[1 2]", "\"abc",
  ])
  func `what is not JSON is refused`(_ text: String) {
    #expect(throws: JSONError.self) { try parse(text) }
  }

  @Test func `invalid UTF-8 is refused with its place`() {
    #expect(throws: JSONError(offset: 2, reason: "a string is not valid UTF-8")) {
      try JSONValue(parsing: [0x5B, 0x22, 0xFF, 0x22, 0x5D])
    }
  }

  @Test func `duplicates are found in large objects, byte for byte`() throws {
    let names = (0..<100).map { "\"k\($0)\":0" }
    #expect(throws: JSONError.self) { try parse("{" + (names + ["\"k5\":1"]).joined(separator: ",") + "}") }
    // é composed and decomposed are two names.
    _ = try parse("{" + (names + ["\"\u{E9}\":1", "\"e\u{301}\":2"]).joined(separator: ",") + "}")
  }

  @Test func `nesting is bounded`() throws {
    _ = try parse(String(repeating: "[", count: 128) + String(repeating: "]", count: 128))
    #expect(throws: JSONError.self) {
      try parse(String(repeating: "[", count: 129) + String(repeating: "]", count: 129))
    }
  }

  @Test func `Python's literals are taken on request`() throws {
    #expect(try JSONValue(parsing: "[NaN,Infinity,-Infinity]".utf8, pythonLiterals: true).arrayValue?.count == 3)
  }
}
