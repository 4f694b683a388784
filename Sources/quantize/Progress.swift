import Foundation
import Pipeline
import StrictJSON

/// Shows events on standard error: a bar on a terminal, one line of JSON for each elsewhere.
final class Progress {
  private enum Style { case none, bar, lines }
  private let style: Style
  private let start = ProcessInfo.processInfo.systemUptime
  private var stage = ""
  private var stageStart = 0.0
  private var shown = (detail: "", time: 0.0)
  private var drawn = false

  init(json: Bool, quiet: Bool) {
    if quiet {
      style = .none
    } else {
      let isLogged = ProcessInfo.processInfo.environment["CI"].map { !$0.isEmpty } ?? false
      style = json || isLogged || isatty(2) == 0 ? .lines : .bar
    }
  }

  func show(_ event: ProgressEvent) {
    let now = ProcessInfo.processInfo.systemUptime
    if event.stage != stage { (stage, stageStart, shown) = (event.stage, now, ("", 0)) }
    // Many events of the same kind within a moment say no more than one.
    guard event.detail != shown.detail || now - shown.time > 0.5 else { return }
    shown = (event.detail, now)
    switch style {
    case .none: break
    case .lines:
      var object: JSONObject = [
        "stage": .string(event.stage), "done": .integer(event.done), "total": .integer(event.total),
        "detail": .string(event.detail), "seconds": .real(((now - start) * 100).rounded() / 100),
      ]
      for member in event.facts.members { object[member.name] = member.value }
      write(JSONValue.object(object).compactText + "\n")
    case .bar: draw(event, elapsed: now - stageStart)
    }
  }

  /// Clears the bar.
  func finish() {
    if drawn { write("\r\u{1B}[K") }
    drawn = false
  }

  private func draw(_ event: ProgressEvent, elapsed: Double) {
    let width = 24
    let share = event.total > 0 ? min(1, Double(event.done) / Double(event.total)) : 0
    let full = Int(share * Double(width))
    var line =
      "\(event.stage) [" + String(repeating: "#", count: full) + String(repeating: ".", count: width - full) + "] "
    line += "\(event.done)/\(event.total) \(event.detail)"
    if event.done > 0, elapsed > 1 {
      line += " · \(Self.duration(elapsed / Double(event.done) * Double(event.total - event.done))) left"
    }
    if let memory = event.facts["peak_memory"]?.intValue { line += " · \(memory / 1_000_000) MB" }
    write("\r\u{1B}[K" + line)
    drawn = true
  }

  static func duration(_ seconds: Double) -> String {
    let whole = Int(seconds.rounded())
    return whole < 60 ? "\(whole) s" : "\(whole / 60) min \(whole % 60) s"
  }

  /// Says something that a person should know, in the manner of the other events.
  func note(_ text: String) {
    switch style {
    case .none: break
    case .lines: write(JSONValue.object(["stage": "note", "detail": .string(text)]).compactText + "\n")
    case .bar:
      finish()
      write("note: \(text)\n")
    }
  }

  private func write(_ text: String) { StandardStream.error.write(text) }
}
