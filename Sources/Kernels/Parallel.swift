import Dispatch

/// The one way to use many cores.
public enum Parallel {
  /// Runs `body` once for each index; which thread runs which is not defined.
  public static func forEach(_ count: Int, _ body: @Sendable (Int) -> Void) {
    if count == 1 { return body(0) }
    DispatchQueue.concurrentPerform(iterations: count, execute: body)
  }
}
