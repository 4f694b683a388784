/// Prompts that are continued several at a time: one that ends makes room for one that waits.
///
/// What becomes of a prompt does not depend on the others, nor on how many are continued at a time: see ``Generator``.
public struct ContinuousBatch {
  /// A prompt, and what is wanted of it.
  public struct Request: Sendable {
    /// The prompt, at least one token.
    public let ids: [Int]
    /// The most tokens to make, at least one.
    public let maximumTokens: Int
    /// How they are drawn.
    public let sampling: Sampling

    /// A request.
    public init(_ ids: [Int], maximumTokens: Int, sampling: Sampling) {
      precondition(!ids.isEmpty && maximumTokens > 0, "\(maximumTokens) tokens after \(ids.count)")
      self.ids = ids
      self.maximumTokens = maximumTokens
      self.sampling = sampling
    }
  }

  /// Why a text is not continued.
  public enum Finish: String, Sendable {
    /// The model ended it.
    case end
    /// It has all the tokens that were asked for.
    case length
  }

  /// What happened to one text.
  public struct Event: Sendable, Equatable {
    /// Which of the requests.
    public let request: Int
    /// The token drawn; `nil` for one that ends the text.
    public let token: Int?
    /// Why this was the last of it; `nil` while it goes on.
    public let finish: Finish?
  }

  private struct Member {
    let request: Int
    let text: GeneratedText
    var made: Int
    var last: Int
  }

  private let generator: Generator
  private let requests: [Request]
  private let size: Int
  private var waiting = 0
  private var members: [Member] = []

  /// - Parameter size: texts that are continued at a time, 1 … ``Generator/mostTexts``.
  public init(_ generator: Generator, _ requests: [Request], size: Int) {
    precondition((1...Generator.mostTexts).contains(size), "\(size) texts at a time")
    self.generator = generator
    self.requests = requests
    self.size = size
  }

  /// Texts that are being continued.
  public var count: Int { members.count }

  /// Draws a token for some texts; `nil` when all requests are done.
  ///
  /// Where there is room for waiting prompts, it is these that are read, else one token of every text.
  public mutating func next() throws(ModelError) -> [Event]? {
    guard waiting < requests.count || !members.isEmpty else { return nil }
    let admitted = admissible
    var concerned: [Member]
    let reads: [Generator.Read]
    if admitted.isEmpty {
      (concerned, members) = (members, [])
      reads = concerned.map { Generator.Read($0.text, [$0.last]) }
    } else {
      waiting = admitted.upperBound
      concerned = admitted.map {
        Member(request: $0, text: generator.text(requests[$0].sampling), made: 0, last: 0)
      }
      reads = concerned.map { Generator.Read($0.text, requests[$0.request].ids) }
    }
    var events: [Event] = []
    for (index, token) in try generator.next(reads).enumerated() {
      var finish: Finish? = .end
      if let token {
        concerned[index].made += 1
        concerned[index].last = token
        finish = concerned[index].made == requests[concerned[index].request].maximumTokens ? .length : nil
      }
      events.append(Event(request: concerned[index].request, token: token, finish: finish))
      if finish == nil { members.append(concerned[index]) }
    }
    return events
  }

  /// Requests that there is room for, and whose prompts are read in one step: not so many that it takes long.
  private var admissible: Range<Int> {
    var (end, rows) = (waiting, 0)
    while end < requests.count, members.count + end - waiting < size {
      rows += requests[end].ids.count
      if end > waiting, rows > Generator.mostRows { break }
      end += 1
    }
    return waiting..<end
  }
}
