internal import StrictJSON

extension Report {
  /// How large it is and what became of the tensors.
  func writeContents(_ page: inout Markup) {
    guard let size else { return }
    page.newline()
    page.element("h2", text: "Size")
    page.element("div", ["class": "card stack"]) { page in
      let largest = Double(max(size.bytes, size.referenceBytes, 1))
      for (name, bytes, fill) in [("Reference", size.referenceBytes, "rest"), ("Artifact", size.bytes, "fill")] {
        page.element("div", ["class": "row"]) { page in
          page.element("span", text: name)
          page.element("div", ["class": "track", "title": NumberText.count(bytes) + " bytes"]) {
            $0.element("i", ["class": fill, "style": "width:\(Whisker.percent(Double(bytes) / largest))"]) { _ in }
          }
          page.element("span") { page in
            page.element("b", text: NumberText.bytes(bytes))
            page.element("span", ["class": "sub"], text: "  \(NumberText.count(bytes)) B")
          }
        }
      }
      page.element("p", ["class": "reading"], text: "Bars are to the same scale.")
    }
  }

  /// Where everything came from, so that the run can be repeated.
  func writeProvenance(_ page: inout Markup) {
    page.newline()
    page.element("h2", text: "Where this comes from")
    page.element("div", ["class": "grid"]) { page in
      page.element("div", ["class": "card"]) { page in
        page.element("h3", text: "Inputs and outputs")
        page.element("dl") { page in
          writeEntry("Reference", reference.name, code: reference.digest, &page)
          writeEntry("Artifact", candidate.name, code: candidate.digest, &page)
          writeEntry("Layout", candidate.format, &page)
          if let calibration {
            let amount =
              "\(calibration.source): \(NumberText.count(calibration.tokens)) tokens in "
              + "\(NumberText.count(calibration.samples)) samples"
            writeEntry("Calibrated on", amount, code: calibration.digest, &page)
            if let sentence = calibration.convergenceSentence { writeEntry("Samples", sentence, &page) }
            if let activations = calibration.int8Activations { writeEntry("Activations", activations.sentence, &page) }
          }
          if let text {
            let amount =
              "\(text.source): \(NumberText.count(text.tokens)) tokens, windows of \(NumberText.count(text.windowLength))"
            writeEntry("Measured on", amount, code: text.digest, &page)
          }
          if let arithmetic { writeEntry("Arithmetic", arithmetic.sentence, &page) }
          writeEntry("Program", "\(version), seed \(seed)", &page)
        }
      }
      writeMachine(&page)
    }
    guard !recipe.isNull else { return }
    page.newline()
    page.element("details") { page in
      page.element("summary", text: "Recipe")
      page.element("pre", text: recipe.prettyText)
    }
  }

  private func writeEntry(_ name: String, _ value: String, code: String? = nil, _ page: inout Markup) {
    page.element("dt", text: name)
    page.element("dd") { page in
      page.write(value)
      guard let code, !code.isEmpty else { return }
      page.empty("br")
      page.element("code", ["class": "muted"], text: code)
    }
  }

  private func writeMachine(_ page: inout Markup) {
    page.element("div", ["class": "card"]) { page in
      page.element("h3", text: "Machine and time")
      page.element("dl") { page in
        let cores = machine.cores == 1 ? "one core" : "\(machine.cores) cores"
        writeEntry("Processor", "\(machine.cpu), \(cores), \(machine.instructionSet)", &page)
        writeEntry("Matrix products", machine.blas, &page)
        writeEntry("Memory", "\(NumberText.bytes(machine.memory)); at most \(NumberText.bytes(peakMemory)) held", &page)
        writeEntry("Time", NumberText.duration(totalSeconds), &page)
      }
      for stage in time {
        page.element("div", ["class": "row"]) { page in
          page.element("span", ["class": "sub"], text: stage.name)
          page.element("div", ["class": "track"]) {
            $0.element(
              "i", ["class": "fill", "style": "width:\(Whisker.percent(stage.seconds / max(totalSeconds, 1e-9)))"]
            ) { _ in }
          }
          page.element("span", ["class": "sub"], text: NumberText.duration(stage.seconds))
        }
      }
    }
  }
}

extension Report.Calibration {
  /// How the number of samples was found, where it was.
  fileprivate var convergenceSentence: String? {
    guard let first = convergence.first, convergence.count > 1 else { return nil }
    let errors = convergence.map { "\(NumberText.count($0.samples)): \(NumberText.percent($0.error / first.error))" }
    return "\(NumberText.count(samples)), chosen by the error that each number leaves in the first layer "
      + "(\(errors.joined(separator: ", ")))"
  }
}
