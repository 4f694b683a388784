import Testing

@testable import Checkpoints

@Suite struct ArtifactTarTests {
  private func members(_ archive: [UInt8]) throws -> [TarMember] {
    try TarReader(byteCount: archive.count, path: "test").members { range throws(CheckpointError) in
      Array(archive[range])
    }
  }

  /// Reads the headers only, as if the contents were zeros: contents of any size cost nothing.
  private func members(headers: [Int: [UInt8]], byteCount: Int) throws -> [TarMember] {
    try TarReader(byteCount: byteCount, path: "test").members { range throws(CheckpointError) in
      var bytes = [UInt8](repeating: 0, count: range.count)
      for (offset, header) in headers {
        let part = range.clamped(to: offset..<offset + header.count)
        for position in part { bytes[position - range.lowerBound] = header[position - offset] }
      }
      return bytes
    }
  }

  private func archive(_ name: String, _ content: [UInt8]) -> [UInt8] {
    TarWriter.header(name: name, byteCount: content.count) + content
      + [UInt8](repeating: 0, count: TarWriter.padding(after: content.count))
  }

  @Test func `a header has every field in its place`() {
    let header = TarWriter.header(name: "config.json", byteCount: 1234)
    #expect(header.count == 512)
    func text(_ range: Range<Int>) -> String { String(decoding: header[range].prefix { $0 != 0 }, as: UTF8.self) }
    #expect(text(0..<100) == "config.json")
    #expect(text(100..<108) == "0000644" && text(108..<116) == "0000000" && text(116..<124) == "0000000")
    #expect(text(124..<136) == "00000002322" && text(136..<148) == "00000000000")
    // Made with Python: tarfile.TarInfo("config.json"), size 1234, mode 0644, format USTAR, gives the same 512 bytes.
    #expect(text(148..<156) == "010104" && header[155] == 0x20)
    #expect(header[156] == UInt8(ascii: "0") && text(257..<263) == "ustar" && text(263..<265) == "00")
    #expect(text(265..<297).isEmpty && text(297..<345).isEmpty && text(345..<512).isEmpty)
  }

  @Test func `eight gibibytes and more need a pax header, one byte less does not`() throws {
    #expect(TarWriter.largestOctalSize == 8_589_934_591)
    let below = TarWriter.header(name: "w", byteCount: 8_589_934_591)
    #expect(below.count == 512)
    #expect(below[124..<136].elementsEqual("77777777777\0".utf8))
    let size = 8_589_934_592
    let header = TarWriter.header(name: "model.safetensors", byteCount: size)
    #expect(header.count == 3 * 512)
    #expect(header[156] == UInt8(ascii: "x") && header[..<28].elementsEqual("PaxHeaders/model.safetensors".utf8))
    #expect(header[512..<532].elementsEqual("19 size=8589934592\n\0".utf8))
    #expect(header[1024 + 124..<1024 + 136].elementsEqual("00000000000\0".utf8))
    let total = header.count + size + 1024
    let found = try members(headers: [0: header], byteCount: total)
    #expect(found == [TarMember(name: "model.safetensors", content: 1536..<1536 + size)])
    let terabytes = TarWriter.header(name: "w", byteCount: 9_999_999_999_999)
    #expect(terabytes[512..<535].elementsEqual("22 size=9999999999999\n\0".utf8))
  }

  @Test func `a pax record counts its own length`() {
    #expect(TarWriter.record("path", Array("a".utf8)) == Array("9 path=a\n".utf8))
    #expect(TarWriter.record("path", Array("ab".utf8)) == Array("11 path=ab\n".utf8))
    for count in 1...1000 {
      let record = TarWriter.record("path", [UInt8](repeating: 0x61, count: count))
      #expect(Int(String(decoding: record.prefix { $0 != 0x20 }, as: UTF8.self)) == record.count)
    }
  }

  @Test func `long and foreign names come back`() throws {
    let names = [
      "tokenizer.json", String(repeating: "n", count: 100), String(repeating: "n", count: 101), "größe/模型.json",
    ]
    let bytes = names.flatMap { archive($0, Array($0.utf8)) } + TarWriter.end
    let found = try members(bytes)
    #expect(found.map(\.name) == names)
    for member in found { #expect(bytes[member.content].elementsEqual(member.name.utf8)) }
  }

  @Test func `padding after pax records must be empty`() throws {
    var bytes = archive("é", [1]) + TarWriter.end
    #expect(try members(bytes).count == 1)
    bytes[1000] = 1
    #expect(throws: CheckpointError.self) { try members(bytes) }
  }

  @Test(arguments: [
    "", ".", "..", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "a\\b", "C:x", "a\nb", "./a", "a\u{7F}",
    "../\u{301}x", "/\u{301}x", "a\\\u{301}b",
  ])
  func `a name that leads elsewhere is refused`(_ name: String) {
    #expect(throws: CheckpointError.self) { try members(archive(name, [1]) + TarWriter.end) }
  }

  @Test func `duplicates and files inside files are refused`() {
    #expect(throws: CheckpointError.self) { try members(archive("a", [1]) + archive("a", [2]) + TarWriter.end) }
    #expect(throws: CheckpointError.self) { try members(archive("a/b", [1]) + archive("a", [2]) + TarWriter.end) }
  }

  /// A header with one field changed and its checksum put right.
  private func changed(_ header: [UInt8], _ offset: Int, _ bytes: some Collection<UInt8>) -> [UInt8] {
    var header = header
    header.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    header.replaceSubrange(148..<156, with: [UInt8](repeating: 0x20, count: 8))
    let sum = String(header[..<512].reduce(0) { $0 + Int($1) }, radix: 8)
    header.replaceSubrange(148..<148 + sum.utf8.count, with: sum.utf8)
    return header
  }

  @Test func `links, folders, devices, global headers and GNU types are refused`() throws {
    for type in "1234567gLKSx".utf8 {
      let header = changed(TarWriter.header(name: "a", byteCount: 0), 156, [type])
      #expect(throws: CheckpointError.self, "\(type)") { try members(header + TarWriter.end) }
    }
    let old = changed(TarWriter.header(name: "a", byteCount: 0), 156, [0])
    #expect(try members(old + TarWriter.end).count == 1)
  }

  @Test func `wrong checksums, magics, sizes and ends are refused`() {
    let good = archive("a", [1, 2, 3])
    var sum = good
    sum[150] ^= 1
    let spoiled: [[UInt8]] = [
      sum + TarWriter.end,
      changed(good, 257, "ustar ".utf8) + TarWriter.end,
      changed(good, 263, " \0".utf8) + TarWriter.end,
      changed(good, 124, [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]) + TarWriter.end,
      changed(good, 124, "0000000000x\0".utf8) + TarWriter.end,
      changed(good, 124, "77777777777\0".utf8) + TarWriter.end,
      changed(good, 124, [UInt8](repeating: 0, count: 12)) + TarWriter.end,
      good, good + TarWriter.end.dropLast(512), good + TarWriter.end + TarWriter.end, good + TarWriter.end + [0],
      good + TarWriter.end.dropLast() + [1], good.dropLast(300), [],
    ]
    for archive in spoiled { #expect(throws: CheckpointError.self) { try members(archive) } }
  }

  @Test(arguments: [
    "11 mtime=1\n", "9 path=a", "8 path=a\n", "11 path=a\n", "99 path=a\n", "x path=a\n", "09 path=a\n", "6 path\n",
    "9 path=a\n9 path=b\n", "13 size=1e10\n", "31 size=99999999999999999999999\n", "10 size=01\n", "0 path=a\n", " \n",
    "18446744073709551616 a=b\n", "27 size=9223372036854775807\n",
  ])
  func `a pax header that is not well-formed is refused`(_ records: String) {
    let block = changed(TarWriter.header(name: "p", byteCount: records.utf8.count), 156, "x".utf8)
    let padding = [UInt8](repeating: 0, count: TarWriter.padding(after: records.utf8.count))
    let bytes = block + records.utf8 + padding + archive("a", []) + TarWriter.end
    #expect(throws: CheckpointError.self) { try members(bytes) }
  }
}
