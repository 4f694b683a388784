extension Report {
  /// What became of every tensor of the source checkpoint: each ends exactly once as quantized, copied, folded or
  /// dropped for a stated reason, so that nothing is lost in silence.
  public struct Ledger: Sendable, Equatable {
    /// One for each source tensor, in the order of the source.
    public let entries: [Entry]

    /// The ledger of a checkpoint.
    ///
    /// - Parameters:
    ///   - source: every tensor of the checkpoint and its size in bytes, in checkpoint order.
    ///   - entries: what became of them, in any order.
    /// - Throws: `ReportsError.unbalancedLedger`, which names the tensors without an entry, those with more than one,
    ///   and the entries that name no tensor of the source.
    public init(source: [(name: String, bytes: Int)], entries: [Entry]) throws(ReportsError) {
      var byName: [String: Entry] = [:]
      var repeated: [String] = []
      for entry in entries where byName.updateValue(entry, forKey: entry.name) != nil { repeated.append(entry.name) }
      var unaccounted: [String] = []
      var ordered: [Entry] = []
      ordered.reserveCapacity(source.count)
      var seen: Set<String> = []
      for (name, bytes) in source {
        guard seen.insert(name).inserted else {
          repeated.append(name)
          continue
        }
        guard var entry = byName.removeValue(forKey: name) else {
          unaccounted.append(name)
          continue
        }
        entry.bytes = bytes
        ordered.append(entry)
      }
      let unknown = byName.keys.sorted()
      guard unaccounted.isEmpty, repeated.isEmpty, unknown.isEmpty else {
        throw .unbalancedLedger(unaccounted: unaccounted, repeated: repeated, unknown: unknown)
      }
      self.entries = ordered
    }

    /// What became of one source tensor.
    public struct Entry: Sendable, Equatable {
      /// The source tensor's name.
      public let name: String
      /// Its size in the source, bytes; the ledger fills it in.
      public internal(set) var bytes: Int
      /// What became of it.
      public let fate: Fate
      /// The tensors that hold it now.
      ///
      /// Where several sources end in the same tensors, such as an FP8 weight and its
      /// scales, one entry lists them and the others list none.
      public let written: [String]
      /// The size of those, bytes, before any compression of the container.
      public let bytesWritten: Int

      /// - Parameters:
      ///   - name: the source tensor's name.
      ///   - fate: what became of it.
      ///   - written: the names of the tensors that hold it now; none when it is dropped.
      ///   - bytesWritten: the size of those, bytes.
      public init(_ name: String, _ fate: Fate, written: [String] = [], bytesWritten: Int = 0) {
        self.name = name
        bytes = 0
        self.fate = fate
        self.written = written
        self.bytesWritten = bytesWritten
      }
    }

    /// What becomes of a tensor.
    public enum Fate: Sendable, Hashable {
      /// Stored in the named scheme, such as `W4A16_ASYM`.
      case quantized(scheme: String)
      /// The same values, in the same or another element type; the reason says why it was not quantized where that
      /// is not plain, such as `ignored by the recipe`.
      case copied(reason: String? = nil)
      /// Copied with values changed by folding scales into it.
      case folded(reason: String? = nil)
      /// Not in the artifact, and why, such as `tied to model.embed_tokens.weight`.
      case dropped(reason: String)

      /// Which of the four.
      public var kind: Kind {
        switch self {
        case .quantized: .quantized
        case .copied: .copied
        case .folded: .folded
        case .dropped: .dropped
        }
      }

      /// The reason, where one is stated.
      public var reason: String? {
        switch self {
        case .quantized: nil
        case .copied(let reason), .folded(let reason): reason
        case .dropped(let reason): reason
        }
      }

      /// The scheme of what is quantized.
      public var scheme: String? { if case .quantized(let scheme) = self { scheme } else { nil } }
    }

    /// The four fates without their details.
    public enum Kind: String, Sendable, CaseIterable {
      case quantized, copied, folded, dropped
    }

    /// Tensors and bytes of one kind.
    public struct Total: Sendable, Equatable {
      /// Number of source tensors.
      public var tensors = 0
      /// Their size in the source, bytes.
      public var bytes = 0
      /// The size of what was written for them, bytes.
      public var bytesWritten = 0
    }

    /// Tensors and bytes of all kinds, those without a tensor too.
    public var summary: [Kind: Total] {
      var totals: [Kind: Total] = [:]
      for kind in Kind.allCases { totals[kind] = Total() }
      for entry in entries {
        totals[entry.fate.kind]?.tensors += 1
        totals[entry.fate.kind]?.bytes += entry.bytes
        totals[entry.fate.kind]?.bytesWritten += entry.bytesWritten
      }
      return totals
    }

    /// Tensors and bytes of one kind.
    public func total(_ kind: Kind) -> Total { summary[kind] ?? Total() }
  }
}
