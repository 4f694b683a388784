extension Report {
  /// The report as JUnit XML, the form that build servers show: one case per limit, and one for the artifact itself.
  public func junit() -> String {
    let failures = gate.filter { $0.verdict == .failed }.count + (integrity.isCorrupt ? 1 : 0)
    let counts: KeyValuePairs = [
      "name": "quantize", "tests": String(gate.count + 1), "failures": String(failures), "errors": "0",
      "skipped": integrity == .notChecked ? "1" : "0", "time": Self.seconds(totalSeconds),
    ]
    var xml = Markup()
    xml.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n")
    xml.element("testsuites", counts) { xml in
      xml.raw("\n  ")
      xml.element("testsuite", counts) { xml in
        junitProperties(&xml)
        for check in gate { junitCase(check, &xml) }
        junitIntegrity(&xml)
        xml.raw("\n  ")
      }
      xml.newline()
    }
    return xml.text + "\n"
  }

  private func junitProperties(_ xml: inout Markup) {
    let properties = [
      ("version", version), ("seed", String(seed)), ("reference", reference.name),
      ("reference.digest", reference.digest),
      ("candidate", candidate.name), ("candidate.digest", candidate.digest),
    ]
    xml.raw("\n    ")
    xml.element("properties") { xml in
      for (name, value) in properties {
        xml.raw("\n      ")
        xml.empty("property", ["name": name, "value": value])
      }
      xml.raw("\n    ")
    }
  }

  private func junitCase(_ check: GateCheck, _ xml: inout Markup) {
    xml.raw("\n    ")
    xml.element(
      "testcase", ["classname": "quantize.gate", "name": "\(check.measure.rawValue) \(check.limitText)", "time": "0"]
    ) {
      if check.verdict == .failed {
        $0.element("failure", ["type": "limit", "message": check.sentence], text: check.sentence)
      } else {
        $0.element("system-out", text: check.sentence)
      }
    }
  }

  private func junitIntegrity(_ xml: inout Markup) {
    xml.raw("\n    ")
    xml.element("testcase", ["classname": "quantize.artifact", "name": "integrity", "time": "0"]) { xml in
      switch integrity {
      case .notChecked: xml.empty("skipped", ["message": "the artifact was not checked"])
      case .intact(let parts): xml.element("system-out", text: "all \(parts) parts have the digest that was recorded")
      case .corrupt(let problems):
        let message = problems.first ?? "the artifact is corrupt"
        xml.element("failure", ["type": "integrity", "message": message], text: problems.joined(separator: "\n"))
      }
    }
  }

  private static func seconds(_ value: Double) -> String {
    let milliseconds = String(Int((max(0, min(value, 1e12)) * 1000).rounded()))
    let padded = String(repeating: "0", count: max(0, 4 - milliseconds.count)) + milliseconds
    return padded.dropLast(3) + "." + padded.suffix(3)
  }
}
