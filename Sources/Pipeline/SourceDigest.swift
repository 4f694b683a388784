internal import Checkpoints
internal import Foundation
internal import Kernels
internal import Models
internal import Synchronization
internal import Tensors

/// The digest of a model's content, found on a thread of its own while the model is already worked on.
///
/// One thread hashes about 1.5 GB/s, as long as a small scheme takes for everything else. What the digest's thread has
/// not looked at may be damaged: whoever needs tensors asks ``require(_:)`` first.
final class SourceDigest: Sendable {
  private struct State {
    var seen: Set<String> = []
    var result: Result<String, any Error>?
    var isCancelled = false
  }

  private struct Cancelled: Error {}

  private let state = Mutex(State())
  /// Signalled whenever the state has changed.
  private let change = NSCondition()
  private let lane = BackgroundLane(depth: 1)

  /// Begins to read.
  ///
  /// - Parameter look: sees every tensor on the way; may throw to refuse one.
  init(_ checkpoint: Checkpoint, _ look: @escaping @Sendable (_ name: String, Tensor) throws -> Void) {
    lane.add { [self] in
      let result = Result {
        try checkpoint.contentDigest { name, tensor in
          guard !state.withLock({ $0.isCancelled }) else { throw Cancelled() }
          try look(name, tensor)
          update { $0.seen.insert(name) }
        }
      }
      update { $0.result = result }
    }
  }

  private func update(_ body: (inout State) -> Void) {
    state.withLock { body(&$0) }
    change.lock()
    change.broadcast()
    change.unlock()
  }

  /// Waits until something is so, or the reading has ended; throws what was found wrong.
  private func wait(until isReady: (State) -> Bool) throws {
    change.lock()
    defer { change.unlock() }
    while true {
      let (ready, result) = state.withLock { (isReady($0), $0.result) }
      if case .failure(let error)? = result { throw error }
      if ready || result != nil { return }
      change.wait()
    }
  }

  /// Waits until some tensors were looked at; throws what was found wrong in any.
  func require(_ names: [String]) throws { try wait { state in names.allSatisfy(state.seen.contains) } }

  /// The digest, if it is known by now.
  var known: String? {
    get throws { try state.withLock { $0.result }?.get() }
  }

  /// Waits for the digest.
  func value() throws -> String {
    try wait { _ in false }
    guard let digest = try known else { preconditionFailure("the digest was waited for, but is not there") }
    return digest
  }

  /// Ends the reading early; nothing may be asked any more.
  func cancel() {
    state.withLock { $0.isCancelled = true }
    lane.wait()
  }
}

extension QuantizationPlan.Unit {
  /// The tensors of the source that a unit is made of, where nothing is calibrated.
  func sources(in model: LanguageModel) -> [String] {
    let names = steps.flatMap { step -> [String] in
      switch step {
      case .keep(let name): [name]
      case .expand(let plan), .recode(let plan), .quantize(let plan):
        model.storedTensors(ofLinear: plan.name).map(\.name)
      case .stack(_, let experts): experts.flatMap { model.storedTensors(ofLinear: $0.name).map(\.name) }
      case .cacheScales: []
      }
    }
    guard let prefix = layer.map(model.layerPrefix) else { return names }
    return names + model.checkpoint.weights.tensors.map(\.name).filter { $0.hasPrefix(prefix) }
  }
}
