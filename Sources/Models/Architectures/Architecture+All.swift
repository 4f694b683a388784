extension Architecture {
  /// Every family, one file each; a new one is added here and nowhere else.
  public static let all: [Architecture] = [
    .llama, .mistral, .qwen2, .qwen3, .qwen3MoE, .mixtral, .gemma2, .gemma3, .phi3, .deepSeekV2, .deepSeekV3, .gptOSS,
    .olmo2,
  ]
}
