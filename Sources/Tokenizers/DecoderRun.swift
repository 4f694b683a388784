/// A decoder at work: tokens go in one by one, text comes out as soon as nothing later can change it.
struct DecoderRun: Sendable {
  /// What travels between the steps.
  enum Event: Sendable {
    case text([Unicode.Scalar])
    case endOfToken
  }

  private var stages: [DecoderStage]

  /// - Parameter isEager: gives out a run of byte tokens as soon as it is whole characters. A run that turns invalid
  ///   later is then repaired from there on, not from its start.
  init(_ decoder: TokenDecoder, isEager: Bool) {
    stages = decoder.steps.map { DecoderStage($0, isEager: isEager) }
  }

  /// The text that a further token settles.
  mutating func push(_ token: [Unicode.Scalar]) -> [Unicode.Scalar] {
    var events: [Event] = [.text(token), .endOfToken]
    for index in stages.indices { events = stages[index].process(events) }
    return Self.text(of: events)
  }

  /// The text that was still held back.
  mutating func finish() -> [Unicode.Scalar] {
    var events: [Event] = []
    for index in stages.indices { events = stages[index].process(events) + stages[index].finish() }
    return Self.text(of: events)
  }

  private static func text(of events: [Event]) -> [Unicode.Scalar] {
    events.flatMap { event -> [Unicode.Scalar] in if case .text(let text) = event { text } else { [] } }
  }
}

/// One step at work.
struct DecoderStage: Sendable {
  private let step: TokenDecoder.Step
  private let isEager: Bool
  /// The token being collected.
  private var token: [Unicode.Scalar] = []
  /// Bytes that are not yet whole characters.
  private var bytes: [UInt8] = []
  private var tokenIndex = 0
  /// How much of the current token has been looked at, and whether it may still lose its start.
  private var isStripping = true
  private var stripped = 0

  init(_ step: TokenDecoder.Step, isEager: Bool) {
    self.step = step
    self.isEager = isEager
  }

  mutating func process(_ events: [DecoderRun.Event]) -> [DecoderRun.Event] {
    var output: [DecoderRun.Event] = []
    for event in events {
      switch event {
      case .text(let text): add(text, to: &output)
      case .endOfToken: endToken(&output)
      }
    }
    return output
  }

  /// Steps that need no whole token answer at once, the others collect.
  private mutating func add(_ text: [Unicode.Scalar], to output: inout [DecoderRun.Event]) {
    switch step {
    case .fuse: output.append(.text(text))
    case .spaces: output.append(.text(tokenIndex > 0 ? [" "] + text : text))
    case .metaspace(let metaspace):
      let isFirst = tokenIndex == 0 && metaspace.scheme != .never
      output.append(
        .text(text.compactMap { $0 != metaspace.sign ? $0 : isFirst ? nil : " " }))
    case .strip(let scalar, let start, stop: 0):
      output.append(.text(strippingStart(of: text, scalar, limit: start)))
    case .byteLevel, .replace, .byteFallback, .strip: token += text
    }
  }

  private mutating func strippingStart(
    of text: [Unicode.Scalar], _ scalar: Unicode.Scalar, limit: Int
  ) -> [Unicode.Scalar] {
    var index = 0
    while isStripping, index < text.count {
      if stripped < limit, text[index] == scalar {
        stripped += 1
        index += 1
      } else {
        isStripping = false
      }
    }
    return Array(text[index...])
  }

  private mutating func endToken(_ output: inout [DecoderRun.Event]) {
    defer {
      token.removeAll(keepingCapacity: true)
      tokenIndex += 1
      isStripping = true
      stripped = 0
    }
    switch step {
    case .fuse: return
    case .spaces, .metaspace, .strip(_, start: _, stop: 0): output.append(.endOfToken)
    case .replace(let pattern, let content):
      output += [.text(pattern.replacing(in: token, by: content).text), .endOfToken]
    case .strip(let scalar, let start, let stop):
      var text = strippingStart(of: token, scalar, limit: start)
      var left = stop
      while left > 0, text.last == scalar {
        text.removeLast()
        left -= 1
      }
      output += [.text(text), .endOfToken]
    case .byteLevel:
      bytes += ByteAlphabet.bytes(of: token) ?? Array(String(scalars: token).utf8)
      let whole = Self.wholeCharacters(in: bytes)
      if whole > 0 {
        output.append(.text(Array(String(decoding: bytes[..<whole], as: UTF8.self).unicodeScalars)))
        bytes.removeFirst(whole)
      }
    case .byteFallback:
      if let byte = Self.byte(of: token) {
        bytes.append(byte)
        if isEager, String(validating: bytes, as: UTF8.self) != nil { flushRun(&output) }
      } else {
        flushRun(&output)
        output += [.text(token), .endOfToken]
      }
    }
  }

  mutating func finish() -> [DecoderRun.Event] {
    var output: [DecoderRun.Event] = []
    switch step {
    case .fuse: output.append(.endOfToken)
    case .byteLevel:
      output += [.text(Array(String(decoding: bytes, as: UTF8.self).unicodeScalars)), .endOfToken]
    case .byteFallback: flushRun(&output)
    case .replace, .strip, .metaspace, .spaces: break
    }
    return output
  }

  /// A run of bytes that is no UTF-8 becomes one U+FFFD for each byte.
  private mutating func flushRun(_ output: inout [DecoderRun.Event]) {
    guard !bytes.isEmpty else { return }
    if let text = String(validating: bytes, as: UTF8.self) {
      output += [.text(Array(text.unicodeScalars)), .endOfToken]
    } else {
      for _ in bytes { output += [.text(["\u{FFFD}"]), .endOfToken] }
    }
    bytes.removeAll(keepingCapacity: true)
  }

  /// The byte of a token like `<0x0A>`.
  private static func byte(of token: [Unicode.Scalar]) -> UInt8? {
    guard token.count == 6, token.starts(with: "<0x".unicodeScalars), token[5] == ">" else { return nil }
    return UInt8(String(scalars: token[3...4]), radix: 16)
  }

  /// How many bytes come before a character whose last bytes are still missing.
  private static func wholeCharacters(in bytes: [UInt8]) -> Int {
    for back in 1...3 where back <= bytes.count {
      let byte = bytes[bytes.count - back]
      let needed = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1
      if byte & 0xC0 != 0x80 { return needed > back ? bytes.count - back : bytes.count }
    }
    return bytes.count
  }
}
