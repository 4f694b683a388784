internal import Crypto
internal import Kernels
internal import Synchronization
internal import Tensors

/// Writes one file in order, on a thread of its own: while the disk works, the next tensors are made.
///
/// The disk is told to begin with each part as soon as it is written, so that waiting for it at a checkpoint is short. An
/// error is thrown by whatever is asked next; nothing is written after it.
final class OutputLane: Sendable {
  /// What the thread shares with the owner.
  private final class State: Sendable {
    let file: FileDescriptor
    let hash: Mutex<SHA256>
    let failure = Mutex<CheckpointError?>(nil)

    init(_ file: FileDescriptor, _ hash: SHA256) {
      self.file = file
      self.hash = Mutex(hash)
    }

    func perform(_ body: () throws(CheckpointError) -> Void) {
      guard failure.withLock({ $0 == nil }) else { return }
      do throws(CheckpointError) { try body() } catch { failure.withLock { $0 = error } }
    }
  }

  private let state: State
  private let lane = BackgroundLane(depth: 2)

  /// A lane to a file, the hash of whose bytes so far is given.
  init(_ file: FileDescriptor, hash: SHA256 = SHA256()) { state = State(file, hash) }

  private func requireSuccess() throws(CheckpointError) {
    if let failure = state.failure.withLock({ $0 }) { throw failure }
  }

  /// Writes parts one after another from an offset on, and hashes them.
  func write(_ parts: [[UInt8]], at offset: Int) throws(CheckpointError) {
    try requireSuccess()
    lane.add { [state] in
      state.perform { () throws(CheckpointError) in
        var place = offset
        for part in parts {
          try state.file.write(part, at: place)
          place += part.count
        }
        state.file.beginWriting(offset..<place)
        let before = state.hash.withLock { $0 }
        let after = before.updated(with: parts)
        state.hash.withLock { $0 = after }
      }
    }
  }

  /// Writes a tensor at an offset, without hashing it.
  func write(_ tensor: Tensor, at offset: Int) throws(CheckpointError) {
    try requireSuccess()
    lane.add { [state] in
      state.perform { () throws(CheckpointError) in
        let result = tensor.withBytes { bytes in
          Result { () throws(CheckpointError) in try state.file.write(bytes, at: offset) }
        }
        try result.get()
        state.file.beginWriting(offset..<offset + tensor.byteCount)
      }
    }
  }

  /// Waits until the disk has everything, then notes it in a journal; neither is waited for here.
  func synchronize(then checkpoint: Journal.Checkpoint, in journal: Journal) throws(CheckpointError) {
    try requireSuccess()
    lane.add { [state] in
      state.perform { () throws(CheckpointError) in
        try state.file.synchronize()
        try journal.append(checkpoint)
      }
    }
  }

  /// Waits until everything is done, and returns the hash of what was written as parts.
  @discardableResult
  func finish() throws(CheckpointError) -> SHA256 {
    lane.wait()
    try requireSuccess()
    return state.hash.withLock { $0 }
  }
}
