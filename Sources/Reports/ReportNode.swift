internal import StrictJSON

/// A value and the path that leads to it, for errors.
struct ReportNode {
  let value: JSONValue
  let path: String

  init(_ value: JSONValue, _ path: String) throws(ReportsError) {
    guard value.objectValue != nil else { throw .malformedReport(key: path, expected: "an object") }
    self.value = value
    self.path = path
  }

  var names: [String] { value.objectValue?.members.map(\.name) ?? [] }

  private func key(_ name: String) -> String { path == "report" ? name : path + "." + name }

  private func get<Value>(_ name: String, _ expected: String, _ read: (JSONValue) -> Value?) throws(ReportsError)
    -> Value
  {
    guard let result = value[name].flatMap(read) else { throw .malformedReport(key: key(name), expected: expected) }
    return result
  }

  func text(_ name: String) throws(ReportsError) -> String { try get(name, "a string") { $0.stringValue } }

  func optionalText(_ name: String) throws(ReportsError) -> String? {
    value[name].map(\.isNull) ?? true ? nil : try text(name)
  }

  func whole(_ name: String) throws(ReportsError) -> Int { try get(name, "a whole number") { $0.intValue } }

  func wholes(_ name: String) throws(ReportsError) -> [Int] {
    try get(name, "an array of whole numbers") { value in
      value.arrayValue.flatMap { elements in
        let numbers = elements.compactMap(\.intValue)
        return numbers.count == elements.count ? numbers : nil
      }
    }
  }

  func seed(_ name: String) throws(ReportsError) -> UInt64 {
    try get(name, "a whole number") { if case .number(let text) = $0 { UInt64(text) } else { nil } }
  }

  func truth(_ name: String) throws(ReportsError) -> Bool { try get(name, "true or false") { $0.boolValue } }

  func number(_ name: String) throws(ReportsError) -> Double {
    try get(name, "a number or null") { $0.isNull ? .infinity : $0.doubleValue }
  }

  func optionalNumber(_ name: String) throws(ReportsError) -> Double? {
    value[name].map(\.isNull) ?? true ? nil : try number(name)
  }

  func numbers(_ name: String) throws(ReportsError) -> [Double] {
    try get(name, "an array of numbers") { value in
      value.arrayValue.flatMap { elements in
        let numbers = elements.compactMap { $0.isNull ? .infinity : $0.doubleValue }
        return numbers.count == elements.count ? numbers : nil
      }
    }
  }

  func texts(_ name: String) throws(ReportsError) -> [String] {
    try get(name, "an array of strings") { value in
      value.arrayValue.flatMap { elements in
        let texts = elements.compactMap(\.stringValue)
        return texts.count == elements.count ? texts : nil
      }
    }
  }

  func node(_ name: String) throws(ReportsError) -> ReportNode { try ReportNode(value[name] ?? .null, key(name)) }

  func optionalNode(_ name: String) throws(ReportsError) -> ReportNode? {
    value[name].map(\.isNull) ?? true ? nil : try node(name)
  }

  func nodes(_ name: String) throws(ReportsError) -> [ReportNode] {
    let elements = try get(name, "an array") { $0.arrayValue }
    var nodes: [ReportNode] = []
    for (index, element) in elements.enumerated() { nodes.append(try ReportNode(element, "\(key(name))[\(index)]")) }
    return nodes
  }

  func estimate(_ name: String) throws(ReportsError) -> Estimate {
    let node = try node(name)
    return Estimate(
      try node.number("value"), low: try node.optionalNumber("low"), high: try node.optionalNumber("high"))
  }

  func named<Name: RawRepresentable<String>>(
    _ name: String, _ type: Name.Type, among expected: String
  ) throws(ReportsError) -> Name {
    try get(name, "one of " + expected) { $0.stringValue.flatMap(Name.init(rawValue:)) }
  }
}
