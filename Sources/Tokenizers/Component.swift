import StrictJSON

/// One JSON object of a tokenizer file, with its place for messages.
///
/// The accessors check the type of a member; members nobody asks for are ignored, as the reference library does.
struct Component {
  let file: String
  let path: String
  let object: JSONObject

  init(_ value: JSONValue, file: String, path: String) throws(TokenizerError) {
    guard let object = value.objectValue else {
      throw .malformed(file: file, component: path, expected: "an object", found: value.typeName)
    }
    self.file = file
    self.path = path
    self.object = object
  }

  /// The place of a member.
  func place(_ name: String) -> String { path.isEmpty ? name : path + "." + name }

  func malformed(_ name: String, expected: String, found: String) -> TokenizerError {
    .malformed(file: file, component: place(name), expected: expected, found: found)
  }

  /// The refusal of this component's type.
  func unsupported(_ supported: [String]) throws(TokenizerError) -> TokenizerError {
    .unsupported(file: file, component: path, found: try string("type"), supported: supported)
  }

  /// A member's value, or `nil` where it is missing or null.
  func value(_ name: String) -> JSONValue? {
    guard let value = object[name], !value.isNull else { return nil }
    return value
  }

  private func required<Value>(
    _ name: String, _ expected: String, _ read: (JSONValue) -> Value?
  ) throws(TokenizerError) -> Value {
    guard let value = object[name] else { throw malformed(name, expected: expected, found: "nothing") }
    guard let result = read(value) else { throw malformed(name, expected: expected, found: value.typeName) }
    return result
  }

  func string(_ name: String) throws(TokenizerError) -> String {
    try required(name, "a string") { $0.stringValue }
  }

  /// A string, or `nil` where it is missing or null.
  func optionalString(_ name: String) throws(TokenizerError) -> String? {
    value(name) == nil ? nil : try string(name)
  }

  func flag(_ name: String) throws(TokenizerError) -> Bool {
    try required(name, "true or false") { $0.boolValue }
  }

  /// A truth value, or a default where it is missing or null.
  func flag(_ name: String, default standard: Bool) throws(TokenizerError) -> Bool {
    value(name) == nil ? standard : try flag(name)
  }

  /// A whole number that is not negative.
  func count(_ name: String) throws(TokenizerError) -> Int {
    let number = try required(name, "a whole number") { $0.intValue }
    guard number >= 0 else {
      throw malformed(name, expected: "a whole number that is not negative", found: "\(number)")
    }
    return number
  }

  /// A string of exactly one Unicode scalar.
  func scalar(_ name: String) throws(TokenizerError) -> Unicode.Scalar {
    let text = try string(name)
    guard let scalar = text.unicodeScalars.first, text.unicodeScalars.count == 1 else {
      throw malformed(name, expected: "one character", found: "\"\(text)\"")
    }
    return scalar
  }

  func array(_ name: String) throws(TokenizerError) -> [JSONValue] {
    try required(name, "an array") { $0.arrayValue }
  }

  func object(_ name: String) throws(TokenizerError) -> JSONObject {
    try required(name, "an object") { $0.objectValue }
  }

  /// An object, or `nil` where it is missing or null.
  func child(_ name: String) throws(TokenizerError) -> Component? {
    guard let value = value(name) else { return nil }
    return try Component(value, file: file, path: place(name))
  }

  /// An array of objects.
  func children(_ name: String) throws(TokenizerError) -> [Component] {
    var result: [Component] = []
    for (index, value) in try array(name).enumerated() {
      result.append(try Component(value, file: file, path: place(name) + "[\(index)]"))
    }
    return result
  }
}
