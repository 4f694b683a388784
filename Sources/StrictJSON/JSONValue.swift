/// A JSON value that keeps what a file said: key order, and numbers as they were spelled.
public enum JSONValue: Sendable, Equatable {
  case null
  case bool(Bool)
  /// The number's own spelling, such as `1e-06`: rewriting a file does not change it.
  case number(String)
  case string(String)
  case array([JSONValue])
  case object(JSONObject)
}

/// The members of a JSON object in file order; names are unique byte for byte.
public struct JSONObject: Sendable, Equatable {
  /// One name and its value.
  public struct Member: Sendable, Equatable {
    /// The member's name.
    public let name: String
    /// The member's value.
    public var value: JSONValue

    /// A name and its value.
    public init(_ name: String, _ value: JSONValue) {
      self.name = name
      self.value = value
    }
  }

  /// All members, in file order.
  public private(set) var members: [Member]

  /// An object from members whose names differ.
  public init(_ members: [Member] = []) {
    self.members = members
  }

  /// The value of a member; setting `nil` removes it, setting a new name appends it.
  ///
  /// Complexity: O(members); large objects are iterated, not looked up.
  public subscript(name: String) -> JSONValue? {
    get { members.first { $0.name == name }?.value }
    set {
      let index = members.firstIndex { $0.name == name }
      switch (index, newValue) {
      case (let index?, let value?): members[index].value = value
      case (let index?, nil): members.remove(at: index)
      case (nil, let value?): members.append(Member(name, value))
      case (nil, nil): break
      }
    }
  }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
  /// An object in the literal's order.
  public init(dictionaryLiteral elements: (String, JSONValue)...) {
    self.init(elements.map { Member($0.0, $0.1) })
  }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
  ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  /// A string.
  public init(stringLiteral value: String) { self = .string(value) }
  /// A whole number.
  public init(integerLiteral value: Int) { self = .number(String(value)) }
  /// A truth value.
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  /// An array.
  public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
  /// An object in the literal's order.
  public init(dictionaryLiteral elements: (String, JSONValue)...) {
    self = .object(JSONObject(elements.map { JSONObject.Member($0.0, $0.1) }))
  }

  /// A whole number.
  public static func integer(_ value: Int) -> JSONValue { .number(String(value)) }

  /// A finite number in the shortest spelling that reads back the same; `null` when not finite.
  public static func real(_ value: Double) -> JSONValue {
    value.isFinite ? .number(value.description) : .null
  }
}

extension JSONValue {
  /// The member of an object, or `nil` for other values and unknown names.
  public subscript(name: String) -> JSONValue? { objectValue?[name] }

  /// The truth value.
  public var boolValue: Bool? { if case .bool(let value) = self { value } else { nil } }

  /// The string.
  public var stringValue: String? { if case .string(let value) = self { value } else { nil } }

  /// The elements.
  public var arrayValue: [JSONValue]? { if case .array(let value) = self { value } else { nil } }

  /// The object.
  public var objectValue: JSONObject? { if case .object(let value) = self { value } else { nil } }

  /// The number, if it is spelled as a whole number and fits.
  public var intValue: Int? { if case .number(let text) = self { Int(text) } else { nil } }

  /// The number as a double.
  public var doubleValue: Double? { if case .number(let text) = self { Double(text) } else { nil } }

  /// Whether this is JSON's `null`.
  public var isNull: Bool { if case .null = self { true } else { false } }

  /// The name of the value's type, for messages.
  public var typeName: String {
    switch self {
    case .null: "null"
    case .bool: "a boolean"
    case .number: "a number"
    case .string: "a string"
    case .array: "an array"
    case .object: "an object"
    }
  }
}

/// Why a text is not JSON, and where.
public struct JSONError: Error, Equatable, CustomStringConvertible {
  /// Bytes from the start of the text.
  public let offset: Int
  /// What was found or expected there.
  public let reason: String

  /// An error at a byte offset.
  public init(offset: Int, reason: String) {
    self.offset = offset
    self.reason = reason
  }

  /// One sentence with the place.
  public var description: String { "not valid JSON at byte \(offset): \(reason)" }
}
