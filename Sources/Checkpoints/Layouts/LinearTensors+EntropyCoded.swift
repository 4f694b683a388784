internal import Kernels
internal import Quantization
internal import Tensors

/// Our own layout, `formats/entropy-coded.md`.
extension LinearTensors {
  func entropyCoded(
    _ quantization: WeightQuantization, _ grid: ScaleGrid, _ outFeatures: Int, _ inFeatures: Int
  ) throws(CheckpointError) -> StoredCodes {
    try refuse([".weight", ".weight_packed", ".weight_scale"], beside: EntropyCodedLayout.codesPart)
    let bits = quantization.format.bitWidth
    let rowGains = try bytes(EntropyCodedLayout.rowGainPart, outFeatures)
    let columnGains = try bytes(EntropyCodedLayout.columnGainPart, inFeatures)
    let (sources, planned) = try splitSources(inFeatures, bits)
    let stored = inFeatures + planned
    let classes = try bytes(EntropyCodedLayout.classPart, stored)
    let lineBytes = EntropyCodedLayout.lineBytes(bits, outFeatures)
    let codes = try tensor(
      EntropyCodedLayout.codesPart, [EntropyCodedLayout.codeType(bits)], [[stored, lineBytes]])

    // Further columns that are not used are the last.
    let places = QuantizedTensor.storedPlaces(classes).prefix(inFeatures + sources.count)
    let scales = StoredScales(
      Tensor([outFeatures], floats: rowGains.map { GainGrid.rows.values[Int($0)] }), grid)
    return self.stored(
      quantization, outFeatures, inFeatures,
      .unpacked { rows, target in
        Self.unpackLines(codes, lineBytes, places, bits, rows, target)
      }, scales, columns: ColumnGains(codes: columnGains, sources: sources, bits: bits))
  }

  /// Codes of some rows, `[rows.count, places.count]`, out of columns that lie at `places`.
  private static func unpackLines(
    _ codes: Tensor, _ lineBytes: Int, _ places: ArraySlice<Int>, _ bits: Int, _ rows: Range<Int>,
    _ target: UnsafeMutablePointer<UInt8>
  ) {
    let width = places.count
    codes.withBytes { bytes in
      guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
      for start in stride(from: rows.lowerBound, to: rows.upperBound, by: 64) {
        let tile = start..<min(rows.upperBound, start + 64)
        for (column, place) in places.enumerated() {
          let line = base + place * lineBytes
          for row in tile {
            let code: UInt8
            if bits == 8 {
              code = line[row]
            } else {
              let nibble = row % 2 == 0 ? line[row / 2] & 15 : line[row / 2] >> 4
              code = nibble > 7 ? nibble | 0xF0 : nibble
            }
            target[(row - rows.lowerBound) * width + column] = code
          }
        }
      }
    }
  }

  private func bytes(_ part: String, _ count: Int) throws(CheckpointError) -> [UInt8] {
    try tensor(part, [.uint8], [[count]]).withBytes { Array($0) }
  }

  /// The features that further columns of codes read, and how many such columns are stored.
  private func splitSources(
    _ inFeatures: Int, _ bits: Int
  ) throws(CheckpointError) -> (sources: [Int], stored: Int) {
    let part = EntropyCodedLayout.splitPart
    guard let found = info(part) else { return ([], 0) }
    let count = found.shape.rank == 1 ? found.shape[0] : 0
    let all = integers(try tensor(part, [.int32], [[count]]))
    let sources = Array(all.prefix { $0 != Int(EntropyCodedLayout.unused) })
    guard all.dropFirst(sources.count).allSatisfy({ $0 == Int(EntropyCodedLayout.unused) }) else {
      throw refusal(part, "has a used column after unused ones")
    }
    let most = CodeDigits(bits: bits).most - 1
    var uses = [Int](repeating: 0, count: inFeatures)
    for source in sources {
      guard uses.indices.contains(source) else {
        throw refusal(part, "names input feature \(source), there are \(inFeatures)")
      }
      uses[source] += 1
      guard uses[source] <= most else {
        throw refusal(part, "splits input feature \(source) into more than \(most + 1) digits")
      }
    }
    return (sources, count)
  }
}
