import Testing

@testable import Tokenizers

@Suite struct OptionsTests {
  private func read(_ text: String) throws(TokenizerError) -> TokenizerOptions {
    try TokenizerOptions(json: text.utf8, file: "tokenizer_config.json")
  }

  @Test func `both spellings of a token are read`() throws {
    let options = try read(
      #"{"bos_token":{"content":"<s>","lstrip":false},"eos_token":"</s>","add_bos_token":true,"x":Infinity}"#)
    #expect(options.bosToken == "<s>" && options.eosToken == "</s>")
    #expect(options.addsBOSToken == true && options.addsEOSToken == nil)
  }

  @Test func `nothing is required`() throws {
    let options = try read(#"{"bos_token":null,"chat_template":[{"name":"default","template":"x"}]}"#)
    #expect(options.bosToken == nil && options.eosToken == nil && options.addsBOSToken == nil)
    #expect(options.tokenizerClass == nil && options.chatTemplate == "x")
  }

  @Test func `a member of the wrong type is refused`() {
    #expect(
      throws: TokenizerError.malformed(
        file: "tokenizer_config.json", component: "add_bos_token", expected: "true or false", found: "a string")
    ) { try read(#"{"add_bos_token":"yes"}"#) }
    #expect(throws: TokenizerError.self) { try read(#"{"bos_token":{"id":1}}"#) }
  }
}
