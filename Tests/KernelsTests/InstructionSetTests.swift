import CKernels
import Foundation
import Kernels
import Testing

@Suite struct InstructionSetTests {
  @Test func `the portable set is always there, and the current one is available`() {
    #expect(InstructionSet.available.first == .portable)
    #expect(InstructionSet.available.contains(.current))
  }

  @Test func `the kernels carry the name of their set`() {
    for set in InstructionSet.available { #expect(String(cString: set.kernels.name) == set.rawValue) }
  }

  @Test func `a request is honoured or refused by name`() throws {
    #expect(try InstructionSet.requested(by: nil) == nil)
    #expect(try InstructionSet.requested(by: "") == nil)
    for name in ["sse9", "AVX2", "avx512-on-avx2"] {
      #expect(throws: InstructionSetError.unknown(name: name)) { try InstructionSet.requested(by: name) }
    }
    for set in InstructionSet.allCases {
      if set.isAvailable {
        #expect(try InstructionSet.requested(by: set.rawValue) == set)
      } else {
        #expect(throws: InstructionSetError.unavailable(set)) { try InstructionSet.requested(by: set.rawValue) }
      }
    }
    let description = InstructionSetError.unknown(name: "sse9").description
    #expect(description.contains("\"sse9\"") && description.contains("portable"))
  }

  @Test func `C reads requests as Swift does`() {
    var set: Int32 = -1
    #expect(ck_isa_for_environment(nil, &set) == Int32(ck_environment_unset) && set == ck_best_isa())
    #expect(ck_isa_for_environment("", nil) == Int32(ck_environment_unset))
    #expect(ck_isa_for_environment("portable", &set) == Int32(ck_environment_honoured) && set == ck_isa_portable)
    #expect(ck_isa_for_environment("sse9", &set) == Int32(ck_environment_unknown) && set == ck_best_isa())
    for absent in InstructionSet.allCases where !absent.isAvailable {
      #expect(ck_isa_for_environment(absent.rawValue, &set) == Int32(ck_environment_unavailable))
      #expect(ck_use_isa(ck_isa_named(absent.rawValue)) == 0)
    }
  }

  @Test func `forcing is confined to the closure`() {
    let before = InstructionSet.current
    for set in InstructionSet.available {
      set.whileForced { #expect(InstructionSet.current == set) }
    }
    #expect(InstructionSet.current == before)
  }

  @Test func `the environment chooses the process's set`() async {
    await #expect(processExitsWith: .success) {
      setenv("QUANTIZE_ISA", "portable", 1)
      try InstructionSet.checkEnvironment()
      precondition(InstructionSet.current == .portable && String(cString: ck_isa_name()) == "portable")
      precondition(ck_isa_environment_status() == Int32(ck_environment_honoured))
    }
    await #expect(processExitsWith: .success) {
      setenv("QUANTIZE_ISA", "mmx", 1)
      #expect(throws: InstructionSetError.unknown(name: "mmx")) { try InstructionSet.checkEnvironment() }
      precondition(InstructionSet.current != .portable || InstructionSet.available == [.portable])
      precondition(ck_isa_environment_status() == Int32(ck_environment_unknown))
    }
  }
}
