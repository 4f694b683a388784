public import StrictJSON
internal import Synchronization

/// Something that happened during a run, for a progress bar or a log.
public struct ProgressEvent: Sendable {
  /// What the run is doing, such as `quantize` or `verify`.
  public let stage: String
  /// Units done in this stage.
  public let done: Int
  /// Units in all; 0 if unknown.
  public let total: Int
  /// What is being worked on.
  public let detail: String
  /// Further facts by name.
  public let facts: JSONObject

  /// An event.
  public init(_ stage: String, done: Int, of total: Int, _ detail: String, facts: JSONObject = JSONObject()) {
    self.stage = stage
    self.done = done
    self.total = total
    self.detail = detail
    self.facts = facts
  }
}

/// Receives events on the thread that runs the pipeline.
public typealias ProgressHandler = (ProgressEvent) -> Void

/// A request to stop, set by a signal handler and looked at between units of work.
public enum Interruption {
  private static let flag = Atomic<Bool>(false)

  /// Asks the run to stop at the next unit; safe to call from a signal handler.
  public static func request() { flag.store(true, ordering: .relaxed) }

  /// Throws if a stop was asked for.
  public static func check(_ next: String) throws {
    if flag.load(ordering: .relaxed) { throw PipelineError.interrupted(next) }
  }
}
