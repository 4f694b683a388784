extension Report {
  /// The report as one page of HTML that needs nothing else.
  ///
  /// Style, plots and its one small script are inside, and a content policy forbids the rest. Reads the same in light and dark, on a wide screen and on a phone.
  public func html() -> String {
    var page = Markup()
    page.raw("<!DOCTYPE html>\n")
    page.element("html", ["lang": "en"]) { page in
      page.newline()
      page.element("head") { page in
        page.empty("meta", ["charset": "utf-8"])
        page.empty("meta", ["name": "viewport", "content": "width=device-width, initial-scale=1"])
        page.empty(
          "meta",
          [
            "http-equiv": "Content-Security-Policy",
            "content": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
          ])
        page.element("title", text: "\(verdictTitle): \(candidate.name)")
        page.newline()
        page.element("style") { $0.raw(HTMLStyle.sheet) }
      }
      page.newline()
      page.element("body") { page in
        page.element("main") { page in
          writeHeader(&page)
          writeVerdict(&page)
          writeCards(&page)
          writeAccuracy(&page)
          writeLayers(&page)
          writeExperts(&page)
          writeFolds(&page)
          writeContents(&page)
          writeLedger(&page)
          writeProvenance(&page)
        }
        page.newline()
        page.element("script") { $0.raw(HTMLStyle.script) }
      }
      page.newline()
    }
    return page.text + "\n"
  }

  private func writeHeader(_ page: inout Markup) {
    page.newline()
    page.element("header") { page in
      page.element("p", ["class": "eyebrow"], text: "Accuracy report · \(version)")
      page.element("h1", text: candidate.name)
      page.element("p", ["class": "lead"]) { page in
        page.write("Compared with ")
        page.element("b", text: reference.name)
        if let scheme = reference.scheme { page.write(" (\(scheme))") }
        guard let sampleText else { return page.write(".") }
        page.write(", token by token, on \(sampleText)")
        if let text {
          page.write(" of ")
          page.element("b", text: text.source)
        }
        page.write(".")
      }
    }
  }

  private func writeVerdict(_ page: inout Markup) {
    page.newline()
    page.element("section", ["class": "verdict \(verdict.rawValue)"]) { page in
      let sign =
        switch verdict {
        case .passed: "✓"
        case .failed: "✕"
        case .unlimited: "i"
        }
      page.element("div", ["class": "sign", "aria-hidden": "true"], text: sign)
      page.element("div") { page in
        page.element("h2", text: "\(verdictTitle): \(verdictReason)")
        page.element("ul") { page in
          for check in gate { writeCheck(check, &page) }
          if case .corrupt(let problems) = integrity {
            for problem in problems { page.element("li", ["class": "bad"], text: "✕ Artifact: \(problem)") }
          }
          if case .intact(let parts) = integrity {
            page.element("li") { page in
              page.element("span", ["class": "good"], text: "✓ ")
              page.write("Artifact intact, \(NumberText.count(parts)) digests checked")
            }
          }
        }
      }
    }
    guard !warnings.isEmpty else { return }
    page.newline()
    page.element("ul", ["class": "warnings"]) { page in
      for warning in warnings { page.element("li", text: warning) }
    }
  }

  private func writeCheck(_ check: GateCheck, _ page: inout Markup) {
    let isKept = check.verdict == .passed
    page.element("li") { page in
      page.element("span", ["class": isKept ? "good" : "bad"], text: isKept ? "✓ " : "✕ ")
      page.write(check.title + " ")
      page.element("b", text: check.valueText)
      page.element("span", ["class": "muted"]) { page in
        page.write((check.bound == .cautious ? " at the 95% bound" : "") + ", allowed " + check.limitText)
      }
    }
  }

  /// A titled drawing with the sentence that says how to read it.
  ///
  /// Text in a drawing shrinks with it, so it is drawn once per range of screen widths and the style shows one.
  func writeFigure(
    _ title: String, reading: String, isWide: Bool = false, into page: inout Markup, drawing: (Double) -> SVG
  ) {
    page.newline()
    page.element("figure", ["class": "card", "style": "margin:0"]) { page in
      page.element("h3", text: title)
      let label = "\(title). \(reading)"
      if isWide {
        page.raw(drawing(1080).markup(label: label, class: "large"))
        page.raw(drawing(540).markup(label: label, class: "medium"))
      } else {
        page.element("div", ["class": "large"]) { $0.raw(drawing(520).markup(label: label)) }
        page.element("div", ["class": "medium"]) { $0.raw(drawing(540).markup(label: label)) }
      }
      page.raw(drawing(346).markup(label: label, class: "small"))
      page.element("figcaption", ["class": "reading"], text: reading)
    }
  }

  /// A titled table, to be opened by the reader where it is long.
  func writeCard(_ title: String, isOpen: Bool, _ page: inout Markup, table: (inout Markup) -> Void) {
    page.newline()
    if isOpen {
      page.element("div", ["class": "card stack"]) { page in
        page.element("h3", text: title)
        page.element("div", ["class": "scroll"], table)
      }
    } else {
      page.element("details") { page in
        page.element("summary", text: title)
        page.element("div", ["class": "card scroll"], table)
      }
    }
  }
}
