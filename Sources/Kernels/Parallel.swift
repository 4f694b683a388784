internal import Dispatch
internal import Foundation
internal import Synchronization

/// The only place that starts threads.
///
/// Work is cut into tasks by its size alone, and every task writes its own part of the result: what comes out does
/// not depend on how many threads there are.
public enum Parallel {
  private static let limit = Atomic<Int>(ProcessInfo.processInfo.activeProcessorCount)

  /// Number of threads that ``forEach(_:_:)`` uses; at least one.
  public static var threads: Int {
    get { limit.load(ordering: .relaxed) }
    set { limit.store(max(1, newValue), ordering: .relaxed) }
  }

  /// Runs `body` for every task below `count`; tasks are claimed as threads become free.
  ///
  /// A task should take 50 µs or more: starting costs about 2 µs.
  public static func forEach(_ count: Int, _ body: @Sendable (Int) -> Void) {
    let workers = min(threads, count)
    guard workers > 1 else {
      for task in 0..<count { body(task) }
      return
    }
    guard !WorkerTeam.shared.isMine else { return WorkerTeam.shared.run(count, body) }
    let next = Atomic<Int>(0)
    DispatchQueue.concurrentPerform(iterations: workers) { _ in
      while true {
        let task = next.wrappingAdd(1, ordering: .relaxed).oldValue
        guard task < count else { return }
        body(task)
      }
    }
  }

  /// Runs something whose loops follow each other closely, with threads that wait for them awake.
  ///
  /// One caller has these threads at a time; for others, and for loops within loops, nothing changes.
  public static func withAwakeThreads<Result, Failure: Error>(
    _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    guard threads > 1, WorkerTeam.shared.begin(workers: threads - 1) else { return try body() }
    defer { WorkerTeam.shared.end() }
    return try body()
  }

  /// Does two things at once, the first on a thread of its own; either may contain parallel loops.
  ///
  /// What one thread is allowed for alone is done one after the other.
  public static func together<First: Sendable, Second>(
    _ first: @escaping @Sendable () -> First, _ second: () -> Second
  ) -> (First, Second) {
    guard threads > 1 else { return (first(), second()) }
    let result = Mutex<First?>(nil)
    let group = DispatchGroup()
    DispatchQueue.global().async(group: group) {
      let value = first()
      result.withLock { $0 = value }
    }
    let own = second()
    group.wait()
    guard let other = result.withLock({ $0 }) else { preconditionFailure("a task was waited for, but did not end") }
    return (other, own)
  }

  /// The values of a function at `0..<count`, found on all cores, in order.
  public static func map<Value: Sendable>(_ count: Int, _ value: @Sendable (Int) -> Value) -> [Value] {
    [Value](unsafeUninitializedCapacity: count) { buffer, initialized in
      nonisolated(unsafe) let places = buffer
      forEach(count) { index in places.initializeElement(at: index, to: value(index)) }
      initialized = count
    }
  }

  /// Runs `body` for consecutive ranges of at most `size` that cover `0..<count`.
  public static func forEachRange(of count: Int, size: Int, _ body: @Sendable (Range<Int>) -> Void) {
    forEach((count + size - 1) / size) { task in
      body(task * size..<min(count, (task + 1) * size))
    }
  }
}

/// A pointer that tasks of one parallel loop share; each writes a part of its own.
struct SharedPointer<Element>: @unchecked Sendable {
  let base: UnsafeMutablePointer<Element>

  init?(_ buffer: UnsafeMutableBufferPointer<Element>) {
    guard let base = buffer.baseAddress else { return nil }
    self.base = base
  }
}
