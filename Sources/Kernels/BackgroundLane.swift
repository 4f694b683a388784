internal import Dispatch
internal import Synchronization

/// Work that is done piece after piece on a thread of its own, while whoever adds it goes on: for files, whose disk
/// would otherwise keep the processors waiting.
///
/// What is waiting holds its memory, so there are never more than a few pieces. With one thread allowed, a piece is done
/// when it is added.
public final class BackgroundLane: Sendable {
  private let queue = DispatchQueue(label: "lane")
  private let group = DispatchGroup()
  private let places: DispatchSemaphore
  private let depth: Int

  /// - Parameter depth: pieces that may be waiting or under way.
  public init(depth: Int) {
    self.depth = depth
    places = DispatchSemaphore(value: depth)
  }

  /// Waits for what is left.
  deinit { group.wait() }

  /// Adds a piece; waits while too many are left.
  public func add(_ piece: @escaping @Sendable () -> Void) {
    guard Parallel.threads > 1 else {
      wait()
      return piece()
    }
    places.wait()
    queue.async(group: group) { [places] in
      piece()
      places.signal()
    }
  }

  /// Waits until everything is done.
  public func wait() { group.wait() }
}
