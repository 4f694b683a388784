import StrictJSON
import TestSupport
import Testing

@testable import Tokenizers

/// What is refused, and with which words.
@Suite struct RefusalTests {
  /// A small valid file: the letters a and b, their pair, and an added token.
  private static let good: JSONObject = [
    "version": "1.0",
    "added_tokens": [token(3, "<s>")],
    "model": ["type": "BPE", "vocab": ["a": 0, "b": 1, "ab": 2], "merges": ["a b"]],
  ]

  private static func token(_ id: Int, _ content: String) -> JSONValue {
    [
      "id": .integer(id), "content": .string(content), "single_word": false, "lstrip": false, "rstrip": false,
      "normalized": false, "special": true,
    ]
  }

  private static func read(_ changes: JSONObject, model: JSONObject = [:]) throws(TokenizerError) -> Tokenizer {
    var file = good
    for change in changes.members { file[change.name] = change.value }
    if var changed = file["model"]?.objectValue {
      for change in model.members { changed[change.name] = change.value }
      file["model"] = .object(changed)
    }
    return try Tokenizer(json: JSONValue.object(file).compactText.utf8, file: "t.json")
  }

  private static func message(_ changes: JSONObject, model: JSONObject = [:]) -> String {
    do {
      _ = try read(changes, model: model)
      return "accepted"
    } catch { return error.description }
  }

  @Test func `the small file itself is read`() throws {
    let tokenizer = try Self.read([:])
    #expect(tokenizer.encode("ab<s>ba?", addingSpecialTokens: true) == [2, 3, 1, 0])
    #expect(try Self.read(["version": .null]).vocabularySize == 4)
    #expect(try Self.read([:], model: ["type": .null]).vocabularySize == 4)
    #expect(
      try Self.read([:], model: ["merges": ["#version: 0.2", "a b"]]).encode("ab", addingSpecialTokens: false) == [2])
    #expect(try Self.read([:], model: ["dropout": .number("0.0")]).vocabularySize == 4)
  }

  @Test(
    arguments: [
      (["version": "2.0"], #"t.json: version: expected "1.0", found "2.0""#),
      (["model": .null], "t.json: model: expected an object, found nothing"),
      (["model": "BPE"], "t.json: model: expected an object, found a string"),
      (["model": ["type": "Unigram"]], "t.json: model: expected one of BPE, found Unigram"),
      (["model": ["type": "WordPiece"]], "t.json: model: expected one of BPE, found WordPiece"),
      (["model": ["vocab": [:]]], "t.json: model.type: expected a model type, found nothing"),
      (
        ["added_tokens": [token(3, "x"), token(3, "y")]],
        "t.json: added_tokens[1].id: expected each id once, found 3 again"
      ),
      (
        ["added_tokens": [token(3, "x"), token(4, "x")]],
        #"t.json: added_tokens[1].content: expected each content once, found "x" again"#
      ),
      (
        ["added_tokens": [token(3, "a")]],
        #"t.json: added_tokens: expected id 0 of the vocabulary for "a", found 3"#
      ),
      (
        ["added_tokens": [token(1, "x")]],
        #"t.json: added_tokens: expected "b" of the vocabulary for id 1, found "x""#
      ),
      (
        ["added_tokens": [token(1 << 40, "x")]],
        "t.json: added_tokens[0].id: expected an id below 4194304, found 1099511627776"
      ),
      (
        ["added_tokens": [["id": -1]]],
        "t.json: added_tokens[0].id: expected a whole number that is not negative, found -1"
      ),
      (
        ["normalizer": ["type": "Nmt"]],
        "t.json: normalizer: expected one of NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace, Strip, Sequence, found Nmt"
      ),
      (["normalizer": [:]], "t.json: normalizer.type: expected a string, found nothing"),
      (
        ["normalizer": ["type": "Sequence", "normalizers": [["type": "Precompiled"]]]],
        "t.json: normalizer.normalizers[0]: expected one of NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace, Strip, Sequence, found Precompiled"
      ),
      (
        ["normalizer": ["type": "Replace", "pattern": ["String": ""], "content": "x"]],
        "t.json: normalizer.pattern.String: expected some text, found none"
      ),
      (
        ["pre_tokenizer": ["type": "BertPreTokenizer"]],
        "t.json: pre_tokenizer: expected one of ByteLevel, Digits, Metaspace, Punctuation, Sequence, Split, Whitespace, WhitespaceSplit, found BertPreTokenizer"
      ),
      (
        ["pre_tokenizer": ["type": "Split", "pattern": ["String": " "], "behavior": "Sideways"]],
        "t.json: pre_tokenizer.behavior: expected one of Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous, found Sideways"
      ),
      (
        ["pre_tokenizer": ["type": "Metaspace", "replacement": "▁▁"]],
        #"t.json: pre_tokenizer.replacement: expected one character, found "▁▁""#
      ),
      (
        [
          "pre_tokenizer": [
            "type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "add_prefix_space": false,
          ]
        ],
        "t.json: pre_tokenizer.prepend_scheme: expected never, as add_prefix_space is false, found first"
      ),
      (
        ["decoder": ["type": "CTC"]],
        "t.json: decoder: expected one of ByteFallback, ByteLevel, Fuse, Metaspace, Replace, Sequence, Strip, found CTC"
      ),
      (
        ["post_processor": ["type": "RobertaProcessing"]],
        "t.json: post_processor: expected one of ByteLevel, Sequence, TemplateProcessing, found RobertaProcessing"
      ),
      (
        [
          "post_processor": [
            "type": "TemplateProcessing", "single": [["SpecialToken": ["id": "<s>"]]], "special_tokens": [:],
          ]
        ],
        #"t.json: post_processor.special_tokens: expected a definition of "<s>", found none"#
      ),
      (
        [
          "post_processor": [
            "type": "TemplateProcessing", "single": [["SpecialToken": ["id": "<s>"]], ["Sequence": ["id": "A"]]],
            "special_tokens": ["<s>": ["ids": [99]]],
          ]
        ],
        #"t.json: post_processor.special_tokens: expected a token's id for "<s>", found 99"#
      ),
      (
        ["post_processor": ["type": "TemplateProcessing", "single": [], "special_tokens": [:]]],
        "t.json: post_processor.single: expected sequence A once, found none"
      ),
    ] as [(JSONObject, String)])
  func `a component that is not understood is named`(_ changes: JSONObject, _ expected: String) {
    #expect(Self.message(changes) == expected)
  }

  @Test(
    arguments: [
      (["vocab": [:]], "t.json: model.vocab: expected at least one token, found none"),
      (
        ["vocab": ["a": 0, "b": -1, "ab": 2]],
        #"t.json: model.vocab: expected an id from 0 to 4194303 for token "b", found -1"#
      ),
      (
        ["vocab": ["a": 0, "b": 4_294_967_296, "ab": 2]],
        #"t.json: model.vocab: expected an id from 0 to 4194303 for token "b", found 4294967296"#
      ),
      (
        ["vocab": ["a": 0, "b": "1"]],
        #"t.json: model.vocab: expected an id from 0 to 4194303 for token "b", found a string"#
      ),
      (["vocab": ["a": 0, "b": 1, "ab": 1]], #"t.json: model.vocab: expected one token for id 1, found "b" and "ab""#),
      (["vocab": ["a": 0, "ab": 2]], #"t.json: model.merges[0]: expected a right half of the vocabulary, found "b""#),
      (["vocab": ["b": 0, "ab": 2]], #"t.json: model.merges[0]: expected a left half of the vocabulary, found "a""#),
      (["vocab": ["a": 0, "b": 1]], #"t.json: model.merges[0]: expected a result of the vocabulary, found "ab""#),
      (["merges": ["a b", "a b"]], #"t.json: model.merges[1]: expected each pair once, found "a" and "b" again"#),
      (["merges": ["a b a"]], #"t.json: model.merges[0]: expected two tokens with one space between, found "a b a""#),
      (["merges": ["ab"]], #"t.json: model.merges[0]: expected two tokens with one space between, found "ab""#),
      (
        ["merges": ["a b", ["b", "a"]]],
        "t.json: model.merges[1]: expected two tokens with one space between, found an array"
      ),
      (["merges": [["a", "b"], "b a"]], #"t.json: model.merges[1]: expected an array of two strings, found "b a""#),
      (["merges": [["a", "b", "a"]]], "t.json: model.merges[0]: expected an array of two strings, found an array"),
      (["merges": .null], "t.json: model.merges: expected an array, found null"),
      (["unk_token": "<unk>"], #"t.json: model.unk_token: expected a token of the vocabulary, found "<unk>""#),
      (
        ["dropout": .number("0.1")],
        "t.json: model.dropout: expected null or 0, as chance has no place in inference, found 0.1"
      ),
      (["fuse_unk": "yes"], "t.json: model.fuse_unk: expected true or false, found a string"),
      (
        ["continuing_subword_prefix": "##"],
        #"t.json: model.merges[0]: expected a right half with the continuing-subword prefix, found "b""#
      ),
    ] as [(JSONObject, String)])
  func `a model that contradicts itself is refused`(_ changes: JSONObject, _ expected: String) {
    #expect(Self.message([:], model: changes) == expected)
  }

  @Test(arguments: [
    ("[a", "does not compile"), ("(a", "does not compile"), ("a\\", "ends with a backslash"), ("*", "does not compile"),
    ("\\h", "uses \\h, which is not supported"), ("\\R+", "uses \\R, which is not supported"),
    ("a{1,3}+", "has an interval followed by +"), ("a{2}?", "has an interval followed by ?"),
    ("(?m).", "uses a kind of group that is not supported"), ("a(?i)b|c", "uses a kind of group that is not supported"),
    ("[[:alpha:]]", "uses a POSIX bracket"), ("[a--b]", "uses a set difference"),
    ("\\pL", "has a property without braces"),
    ("\\x41", "has a code point without braces"), ("[\\W]", "uses \\W, which is not supported"),
    ("\\p{", "has a property without braces"), ("\\x", "has a code point without braces"),
    ("\\p", "has a property without braces"),
    ("\\p{Nonsense}", "does not compile"),
  ])
  func `a pattern that is wrong or would mean something else is refused`(_ pattern: String, _ problem: String) {
    let split: JSONValue = [
      "type": "Split", "pattern": ["Regex": .string(pattern)], "behavior": "Isolated", "invert": false,
    ]
    #expect(
      throws: TokenizerError.badPattern(
        file: "t.json", component: "pre_tokenizer.pattern.Regex", pattern: pattern, problem: problem)
    ) { try Self.read(["pre_tokenizer": split]) }
  }

  @Test func `what is not JSON or names a member twice is refused with the place`() {
    #expect(
      throws: TokenizerError.notJSON(file: "f", JSONError(offset: 0, reason: "the text ends where a value is expected"))
    ) {
      try Tokenizer(json: [], file: "f")
    }
    #expect(throws: TokenizerError.self) {
      try Tokenizer(json: #"{"model":{"type":"BPE","vocab":{"a":0,"a":1},"merges":[]}}"#.utf8, file: "f")
    }
    #expect(throws: TokenizerError.self) { try Tokenizer(json: [0xFF, 0xFE], file: "f") }
  }

  @Test func `two templates are refused`() {
    let template: JSONValue = [
      "type": "TemplateProcessing", "single": [["Sequence": ["id": "A"]]], "special_tokens": [:],
    ]
    #expect(
      Self.message(["post_processor": ["type": "Sequence", "processors": [template, template]]])
        == "t.json: post_processor.processors: expected at most one template, found another one")
  }

  /// Cases whose components are many; they get the small file's model, so that mutations hit the rest.
  @Test(arguments: ["llama2", "llama3", "deepseek", "foreign lookbehind", "decoder of steps", "replace by regex"])
  func `a mutated file is refused or read, and never a trap`(_ name: String) throws {
    let vector = try #require(Vectors.cases.first { $0["name"]?.stringValue == name })
    var file = try Vectors.file(of: vector)
    file["model"] = Self.good["model"]
    file["added_tokens"] = [Self.token(3, "<s>"), Self.token(4, "</s>")]
    file["post_processor"] = [
      "type": "TemplateProcessing", "single": [["SpecialToken": ["id": "<s>"]], ["Sequence": ["id": "A"]]],
      "special_tokens": ["<s>": ["id": "<s>", "ids": [3], "tokens": ["<s>"]]],
    ]
    let good = Array(JSONValue.object(file).compactText.utf8)
    var generator = SeededGenerator(seed: 20_240_607)
    var readable = 0
    for _ in 0..<1_000 {
      let bytes = Self.mutated(good, using: &generator)
      guard let tokenizer = try? Tokenizer(json: bytes, file: "mutated") else { continue }
      readable += 1
      let ids = tokenizer.encode("<s> abab wörld 日本 \u{0} 12 </s>ba", addingSpecialTokens: true)
      _ = tokenizer.decode(ids + [0, 1, 2, 3, 4], skippingSpecialTokens: false)
    }
    #expect(readable > 5)
  }

  private static func mutated(_ good: [UInt8], using generator: inout SeededGenerator) -> [UInt8] {
    var bytes = good
    for _ in 0..<Int.random(in: 1...3, using: &generator) {
      let place = Int.random(in: 0..<bytes.count, using: &generator)
      switch Int.random(in: 0..<4, using: &generator) {
      case 0: bytes[place] = UInt8.random(in: 0...255, using: &generator)
      case 1: bytes.remove(at: place)
      case 2: bytes.insert(bytes[Int.random(in: 0..<bytes.count, using: &generator)], at: place)
      default: bytes[place] = #"0123456789",[]{}()\*+?:tfn-"#.utf8.randomElement(using: &generator) ?? 0
      }
    }
    return bytes
  }
}
