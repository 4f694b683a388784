internal import CKernels
internal import Foundation
internal import Synchronization

/// Threads that wait awake for loops that follow each other within microseconds, as those of one token do.
///
/// A sleeping thread takes 5 to 50 µs to come (more on virtual machines), a token has two hundred loops of some tens
/// of microseconds. Threads that wait awake join within one; after a millisecond without work they go to sleep. A loop
/// never waits for a thread that has not joined it, so nothing is lost where other programs have the processors.
final class WorkerTeam: Sendable {
  static let shared = WorkerTeam()

  /// One loop at a time; written while nobody has joined one.
  private struct Job {
    /// Into how many shares its tasks were dealt.
    var shares = 0
    var body: UnsafePointer<@Sendable (Int) -> Void>?
  }

  /// Bits of ``state``: how many threads have joined, whether one still can, and the loop's number.
  private static let open = 1 << 16
  private static let number = 1 << 17
  private static let joined = open - 1
  /// Looks at ``state`` before a thread goes to sleep, about a millisecond of them.
  private static let patience = 30_000

  private nonisolated(unsafe) let job: UnsafeMutablePointer<Job>
  private let state = Atomic<Int>(0)
  private let tasks = TaskShares(capacity: 256)
  /// How many threads have ever joined the present loop: none gets a share that another one had.
  private let joiners = Atomic<Int>(0)
  private let sleepers = Atomic<Int>(0)
  private let alarm = DispatchSemaphore(value: 0)
  /// The thread whose loops go to the team, 0 if none; and whether it is in one.
  private let owner = Atomic<UInt>(0)
  private let isBusy = Atomic<Bool>(false)
  private let size = Mutex<Int>(0)

  private init() {
    job = .allocate(capacity: 1)
    job.initialize(to: Job())
  }

  private static var thread: UInt {
    #if os(Linux)
      UInt(pthread_self())
    #else
      UInt(bitPattern: pthread_self())
    #endif
  }

  /// Makes the calling thread the one whose loops are run by the team; `false` if another one is.
  func begin(workers: Int) -> Bool {
    guard owner.compareExchange(expected: 0, desired: Self.thread, ordering: .sequentiallyConsistent).exchanged else {
      return false
    }
    size.withLock { size in
      while size < workers {
        size += 1
        let thread = Thread { [self] in serve() }
        thread.qualityOfService = .userInitiated
        thread.start()
      }
    }
    return true
  }

  /// Ends what ``begin(workers:)`` began.
  func end() { owner.store(0, ordering: .sequentiallyConsistent) }

  /// Whether a loop of the calling thread is the team's now.
  var isMine: Bool {
    owner.load(ordering: .relaxed) == Self.thread && !isBusy.load(ordering: .relaxed)
  }

  /// Runs a loop, together with the threads that come in time.
  func run(_ count: Int, _ body: @Sendable (Int) -> Void) {
    isBusy.store(true, ordering: .relaxed)
    withoutActuallyEscaping(body) { body in
      withUnsafePointer(to: body) { body in
        job.pointee = Job(shares: tasks.deal(count, to: min(Parallel.threads, count)), body: body)
        joiners.store(0, ordering: .relaxed)
        _ = state.wrappingAdd(Self.number | Self.open, ordering: .sequentiallyConsistent)
        let asleep = sleepers.exchange(0, ordering: .sequentiallyConsistent)
        for _ in 0..<asleep { alarm.signal() }
        claim(beginning: 0)
        _ = state.wrappingSubtract(Self.open, ordering: .sequentiallyConsistent)
        var looks = 0
        while state.load(ordering: .acquiring) & Self.joined != 0 {
          looks += 1
          if looks % 4096 == 0 { sched_yield() } else { ck_spin_pause() }
        }
      }
    }
    isBusy.store(false, ordering: .relaxed)
  }

  /// Runs tasks of the present loop until none is left, those of one share first.
  @inline(never)
  private func claim(beginning share: Int) {
    guard let body = job.pointee.body, share < job.pointee.shares else { return }
    tasks.claim(job.pointee.shares, beginning: share, body.pointee)
  }

  /// A thread's whole life.
  private func serve() {
    var last = 0
    var looks = 0
    while true {
      let seen = state.load(ordering: .relaxed)
      if seen & Self.open != 0, seen / Self.number != last {
        let old = state.wrappingAdd(1, ordering: .acquiringAndReleasing).oldValue
        // It may have been closed since, or be another loop already.
        if old & Self.open != 0 { claim(beginning: joiners.wrappingAdd(1, ordering: .relaxed).newValue) }
        last = old / Self.number
        _ = state.wrappingSubtract(1, ordering: .releasing)
        looks = 0
        continue
      }
      looks += 1
      if looks < Self.patience {
        ck_spin_pause()
      } else {
        // A loop that opens between the two lines does without this thread; the next one wakes it.
        _ = sleepers.wrappingAdd(1, ordering: .sequentiallyConsistent)
        alarm.wait()
        looks = 0
      }
    }
  }
}
